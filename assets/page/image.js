// The image that stands before the prompt: chosen, pasted or dropped. It stays in the browser, and goes along with a run.
(() => {
  if (Duet.image) return;
  const { make, onValue, hide, button } = Duet.tools;
  const TYPES = "image/png,image/jpeg,image/webp,image/gif,image/bmp";

  const image = (root, props, watch, trigger) => {
    let words = {};
    let url = ""; // of the image, as data; empty for none
    let said = "";

    const field = make("input");
    field.type = "file";
    field.accept = TYPES;
    field.style.display = "none";
    const status = make("span", "said");
    status.setAttribute("role", "status");
    const shown = make("span", "shown");
    root.append(field, shown, status);

    const draw = () => {
      if (hide(root, !words.shown)) return;
      field.setAttribute("aria-label", words.file);
      status.textContent = said;
      if (!url) return shown.replaceChildren(button("add", words.add, () => field.click(), words.hint));
      const picture = make("img");
      picture.src = url;
      picture.alt = words.alt;
      const change = button("picture", "", () => field.click(), words.change);
      change.append(picture);
      shown.replaceChildren(
        change,
        button("drop", "×", () => set(""), words.remove),
        button("without", words.without, () => trigger("select", {}), words.without_hint),
      );
    };

    // The value goes to the server with every run. What the server sends holds words alone.
    const set = (data, message = "") => {
      url = data;
      said = message;
      props.value = JSON.stringify({ ...words, image: url });
      draw();
    };

    const read = async (file) => {
      if (file.size > words.most) return set(url, words.too_large);
      const data = await new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = () => resolve("");
        reader.readAsDataURL(file);
      });
      const probe = make("img");
      probe.src = data;
      try {
        await probe.decode();
        set(data);
      } catch {
        set(url, words.unreadable);
      }
    };

    const isImage = (file) => file?.type.startsWith("image/");
    const take = (file) => {
      if (!words.shown || !isImage(file)) return false;
      read(file);
      return true;
    };
    // What is dropped on the page is offered here first.
    Object.assign(Duet.tools, { takeImage: take, dropWords: () => (words.shown ? words.dropped : "") });
    field.addEventListener("change", () => {
      if (field.files[0]) read(field.files[0]);
      field.value = "";
    });
    document.addEventListener("paste", (event) => {
      if ([...(event.clipboardData?.files || [])].some(take)) event.preventDefault();
    });

    onValue(props, watch, (value) => {
      if (!value) return;
      const { image: held, ...own } = value;
      words = own;
      if (held === undefined && url) props.value = JSON.stringify({ ...own, image: url });
      draw();
    });
  };

  Object.assign(Duet, { image });
})();
