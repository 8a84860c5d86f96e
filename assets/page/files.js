// What is handed out and brought in: links, traces, reports.
(() => {
  if (Duet.outbox) return;
  const { make, valueOf, onValue, hide, isReady, loadPlotly } = Duet.tools;

  const save = (name, text, type) => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  // A report as one HTML file that draws itself: the page's scripts, its style sheet, and the parts as data.
  const FRAME = `
    * { box-sizing: border-box; }
    body { max-width: 1240px; margin: 0 auto; padding: 20px; display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 14px; font: 15px/1.5 system-ui, sans-serif; background: var(--duet-paper); color: var(--duet-ink); }
    body > * { grid-column: 1 / -1; min-width: 0; }
    body > .half { grid-column: span 3; }
    body > .third { grid-column: span 2; }
    button { font: inherit; color: inherit; border: none; background: none; padding: 0; cursor: pointer; }
    header h1 { font-size: 22px; letter-spacing: -0.02em; margin: 0; }
    header p { margin: 2px 0 0; font-size: 13px; color: var(--duet-mute); overflow-wrap: anywhere; }
    header a { color: inherit; }
    .duet-strips h2 { position: static; height: auto; flex-wrap: wrap; gap: 2px 8px; white-space: normal; margin: 0 0 6px; }
    .duet-strips .strip { max-height: none; }
    .t[data-index] { cursor: default; }
    .duet-rows { max-height: none; }
    .duet-rows td { overflow-wrap: anywhere; white-space: pre-wrap; }
    .duet-rows td:first-child { color: var(--duet-mute); min-width: 110px; }
    @media screen and (max-width: 760px) { body { padding: 12px; } body > :is(.half, .third) { grid-column: 1 / -1; } }
    @media print {
      @page { margin: 12mm; }
      body { zoom: 0.58; padding: 0; background: none; }
      body > :is(.half, .third, .duet-rows), .lane { break-inside: avoid; }
      .views { display: none !important; }
      .duet-card, .lane { background: none !important; }
      .dark { filter: invert(1) hue-rotate(180deg); }
    }`;

  // Runs in the report itself.
  const drawReport = () => {
    document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
    const { title, date, sub, address, linkText, parts, toDark } = JSON.parse(document.getElementById("data").textContent);
    const { make } = Duet.tools;
    const header = make("header");
    const about = make("p", "", [date, sub].filter(Boolean).join(" · "));
    header.append(make("h1", "", title), about);
    if (address) {
      const link = make("a", "", linkText);
      link.href = address;
      const line = make("p");
      line.append(link, make("br"), address);
      header.append(line);
    }
    document.title = title;
    document.body.append(header);
    for (const { kind, value, width, look } of parts) {
      const frame = make("div", [width, look && `duet-${look}`, ["chart", "rows"].includes(kind) && "duet-card"].filter(Boolean).join(" "));
      const root = make("div", `duet-${kind}`);
      frame.append(root);
      document.body.append(frame);
      Duet[kind](
        root,
        { value: JSON.stringify(value) },
        () => {},
        () => {},
        toDark,
      );
    }
  };

  const report = async ({ css, lang, title, date, sub, link, link_text: linkText, parts }, toDark, source) => {
    if (!window.Plotly) await loadPlotly(source);
    const sources = [...document.querySelectorAll("script[src*='gradio_api/duet/']")].map((script) => script.src);
    const scripts = await Promise.all([...new Set(sources)].map(async (source) => (await fetch(source)).text()));
    const address = link && location.protocol.startsWith("http") ? `${location.origin}${location.pathname}?${link}` : "";
    const data = JSON.stringify({ title, date, sub, address, linkText, parts, toDark }).replaceAll("<", "\\u003c");
    const inline = (script) => `<script>${script.replace(/<\/script/gi, "<\\/script")}</` + "script>";
    return [
      `<!doctype html><html lang="${lang}"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">`,
      `<title>DoLa Duet</title><style>${css}${FRAME}</style><body>`,
      ...scripts.map(inline),
      `<script type="application/json" id="data">${data}</` + "script>",
      inline(`(${drawReport})();`),
    ].join("\n");
  };

  const outbox = (root, props, watch, trigger, toDark, source) => {
    root.setAttribute("role", "status");
    const copy = async ({ query, words }) => {
      const url = `${location.origin}${location.pathname}?${query}`;
      const field = make("input");
      field.readOnly = true;
      field.value = url;
      field.setAttribute("aria-label", words.link);
      let message = words.copied;
      try {
        await navigator.clipboard.writeText(url);
      } catch {
        message = words.copy;
      }
      root.replaceChildren(make("span", "", message), field);
      hide(root, false);
      field.select();
    };
    hide(root, true);
    watch("value", async () => {
      const value = valueOf(props);
      if (!value) return;
      hide(root, true);
      if (value.kind === "link") await copy(value);
      if (value.kind === "file") save(value.name, value.text, value.type || "application/json");
      if (value.kind === "report") save(value.name, await report(value, toDark, source), "text/html");
    });
  };

  const MAX_FILE = 10_000_000;
  const SETTLED = 1000; // ms after which the page has settled and Plotly can be loaded

  const inbox = (root, props, watch, trigger, toDark, source) => {
    const field = make("input");
    field.type = "file";
    field.accept = ".json,application/json";
    field.style.display = "none";
    const button = make("button");
    const target = document.body.appendChild(make("div", "duet-drop"));
    target.style.display = "none";
    onValue(props, watch, (words) => {
      button.textContent = words.open;
      if (words.arrive) trigger("submit", {});
      if (words.code) document.documentElement.lang = root.lang = words.code; // the server sends it when the page has loaded
      if (words.code) isReady();
      if (words.code && !window.Plotly) setTimeout(loadPlotly, SETTLED, source); // before the first chart
      field.setAttribute("aria-label", words.file);
      document.querySelector(".duet-crumbs")?.setAttribute("aria-label", words.runs);
    });
    button.addEventListener("click", () => field.click());
    root.append(button, field);
    // Some editors save as UTF-16, mostly with a byte order mark. No JSON document begins with a NUL.
    const textOf = async (file) => {
      const bytes = new Uint8Array(await file.arrayBuffer());
      const [first, second] = bytes;
      const little = (first === 0xff && second === 0xfe) || second === 0;
      const big = (first === 0xfe && second === 0xff) || first === 0;
      return new TextDecoder(little ? "utf-16le" : big ? "utf-16be" : "utf-8").decode(bytes);
    };
    const read = async (file) => {
      if (!file) return;
      trigger("upload", { size: file.size, text: file.size > MAX_FILE ? "" : await textOf(file) });
    };
    field.addEventListener("change", async () => {
      await read(field.files[0]);
      field.value = "";
    });
    // While a file is dragged over the page, a frame says that it can be dropped.
    const files = (event) => event.dataTransfer?.types.includes("Files");
    const show = (over) => {
      target.textContent = Duet.tools.dropWords?.() || valueOf(props)?.drop || "";
      target.style.display = over ? "" : "none";
    };
    document.addEventListener("dragover", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      show(true);
    });
    document.addEventListener("dragleave", (event) => !event.relatedTarget && show(false));
    document.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      show(false);
      const file = event.dataTransfer.files[0];
      if (!Duet.tools.takeImage?.(file)) read(file);
    });
  };

  Object.assign(Duet, { outbox, inbox });
})();
