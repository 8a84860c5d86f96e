// What is handed out and brought in: links, traces, reports.
(() => {
  if (Duet.outbox) return;
  const { make, valueOf, onValue, loadPlotly } = Duet.tools;

  const save = (name, text, type) => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  // A report as one HTML file that draws itself: the page's scripts, its style sheet, and the parts as data.
  const report = async ({ css, parts }, toDark, source) => {
    if (!window.Plotly) await loadPlotly(source);
    const sources = [...document.querySelectorAll("script[src*='gradio_api/duet/']")].map((script) => script.src);
    const scripts = await Promise.all([...new Set(sources)].map(async (source) => (await fetch(source)).text()));
    const data = JSON.stringify({ parts, toDark }).replaceAll("<", "\\u003c");
    const draw = `
      document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
      const { parts, toDark } = JSON.parse(document.getElementById("data").textContent);
      for (const { kind, value } of parts) {
        const card = document.createElement("div"), root = document.createElement("div");
        card.className = kind === "chart" ? "duet-card" : "duet-say";
        root.className = "duet-" + kind;
        card.append(root);
        document.body.append(card);
        Duet[kind](root, { value: JSON.stringify(value) }, () => {}, () => {}, toDark);
      }`;
    const inline = (script) => `<script>${script.replace(/<\/script/gi, "<\\/script")}</` + "script>";
    const frame = "body{max-width:1240px;margin:0 auto;padding:20px;font-family:system-ui,sans-serif;background:var(--duet-paper);color:var(--duet-ink)}body>div{margin-bottom:16px}";
    return [
      '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
      `<title>DoLa Duet report</title><style>${css}${frame}</style><body>`,
      ...scripts.map(inline),
      `<script type="application/json" id="data">${data}</` + "script>",
      inline(draw),
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
      root.hidden = false;
      field.select();
    };
    root.hidden = true;
    watch("value", async () => {
      const value = valueOf(props);
      if (!value) return;
      root.hidden = true;
      if (value.kind === "link") await copy(value);
      if (value.kind === "file") save(value.name, value.text, "application/json");
      if (value.kind === "report") save(value.name, await report(value, toDark, source), "text/html");
    });
  };

  const MAX_FILE = 10_000_000;
  const SETTLED = 1000; // ms after which the page has settled and Plotly can be loaded

  const inbox = (root, props, watch, trigger, toDark, source) => {
    const field = make("input");
    field.type = "file";
    field.accept = ".json,application/json";
    field.style.display = "none"; // `hidden` would hide the whole component
    const button = make("button");
    onValue(props, watch, (words) => {
      button.textContent = words.open;
      if (words.code) document.documentElement.lang = root.lang = words.code; // the server sends it when the page has loaded
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
    const files = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => files(event) && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      read(event.dataTransfer.files[0]);
    });
  };

  Object.assign(Duet, { outbox, inbox });
})();
