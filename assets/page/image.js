// The image that stands before the prompt: chosen, pasted or dropped. It stays in the browser, and goes along with a run.
(() => {
  if (Duet.image) return;
  const { make, onValue, hide, button } = Duet.tools;
  const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"];

  const image = (root, props, watch, trigger) => {
    let words = {};
    let url = ""; // of the image, as data; empty for none
    let kept = true; // whether the trace keeps a small picture of it
    let said = "";
    let newest = 0; // counts what was asked for, so that a slower answer to an earlier wish is dropped

    const field = make("input");
    field.type = "file";
    field.accept = TYPES.join(",");
    field.style.display = "none";
    const status = make("span", "said");
    status.setAttribute("role", "status");
    const shown = make("span", "shown");
    root.append(field, shown, status);

    const draw = () => {
      if (hide(root, !words.shown)) return;
      const focused = shown.contains(document.activeElement);
      field.setAttribute("aria-label", words.file);
      status.textContent = said;
      if (url) {
        const picture = make("img");
        picture.src = url;
        picture.alt = words.alt;
        const change = button("picture", "", () => field.click(), words.change);
        change.append(picture);
        const keep = button("keep", kept ? words.kept : words.not_kept, () => set(url, { keep: !kept }), words.keep_hint);
        keep.setAttribute("aria-pressed", kept);
        shown.replaceChildren(
          change,
          button("drop", "×", () => set(""), words.remove),
          button("without", words.without, () => trigger("select", {}), words.without_hint),
          keep,
        );
      } else {
        shown.replaceChildren(button("add", words.add, () => field.click(), words.hint));
      }
      if (focused) shown.firstChild.focus();
    };

    // The value goes to the server with every run. What the server sends holds words alone.
    const tell = () => (props.value = JSON.stringify({ ...words, image: url, thumbnail: kept }));
    const set = (data, { message = "", keep = kept } = {}) => {
      newest += 1;
      [url, said, kept] = [data, message, keep];
      tell();
      draw();
    };

    const dataOf = (file) =>
      new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = () => resolve("");
        reader.readAsDataURL(file);
      });

    const read = async (file) => {
      newest += 1;
      const wish = newest;
      if (!TYPES.includes(file.type)) return set(url, { message: words.unreadable });
      if (file.size > words.most) return set(url, { message: words.too_large });
      const data = await dataOf(file);
      const probe = make("img");
      probe.src = data;
      const isRead = await probe.decode().then(
        () => true,
        () => false,
      );
      if (wish !== newest) return;
      if (!isRead) return set(url, { message: words.unreadable });
      if (probe.naturalWidth * probe.naturalHeight > words.pixels) return set(url, { message: words.too_many_pixels });
      set(data);
    };

    const isSeen = () => words.shown && root.offsetParent;
    const take = (file) => {
      if (!isSeen() || !file?.type.startsWith("image/")) return false;
      read(file);
      return true;
    };
    // What is dropped on the page is offered here first.
    Object.assign(Duet.tools, { takeImage: take, dropWords: () => (isSeen() ? words.dropped : "") });
    field.addEventListener("change", () => {
      if (field.files[0]) read(field.files[0]);
      field.value = "";
    });
    // Programs put a picture of what is copied beside its text, which is what a text field is meant to get.
    document.addEventListener("paste", (event) => {
      const data = event.clipboardData;
      const isText = data?.types.includes("text/plain") && event.target.matches?.("input, textarea");
      if (!isText && [...(data?.files || [])].some(take)) event.preventDefault();
    });

    onValue(props, watch, (value) => {
      if (!value) return;
      const { image: held, thumbnail: _, ...own } = value;
      words = own;
      if (held === undefined && (url || !kept)) tell();
      draw();
    });
  };

  Object.assign(Duet, { image });
})();
