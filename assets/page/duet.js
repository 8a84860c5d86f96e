// Draws the page's own components. All text comes in as data and is written with textContent.
(() => {
  if (window.Duet) return;

  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // A token with its white-space marks in grey.
  const token = (text, className) => {
    const node = make("span", className);
    for (const part of text.split(/([␣⏎␍⇥⍽]+)/)) {
      if (part) node.append(/^[␣⏎␍⇥⍽]/.test(part) ? make("i", "", part) : part);
    }
    return node;
  };

  // Values arrive as JSON text.
  const told = (props) => (props.value ? JSON.parse(props.value) : null);
  const onValue = (props, watch, draw) => {
    watch("value", () => draw(told(props)));
    draw(told(props));
  };

  const KEYS = { step: "← →", ends: "Home End", difference: "P N", layer: "[ ]", help: "?" };

  // Words with their places filled in; the words come with the data.
  const fill = (words, values) => words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

  const showHelp = (words) => {
    const dialog = document.querySelector(".duet-help") || document.body.appendChild(make("dialog", "duet-help"));
    const title = make("h3", "", words.title);
    title.id = "duet-help-title";
    dialog.setAttribute("aria-labelledby", title.id);
    const list = make("dl");
    for (const [name, key] of Object.entries(KEYS)) list.append(make("dt", "", key), make("dd", "", words[name]));
    const close = make("button", "", words.close);
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(title, list, close);
    dialog.showModal();
  };

  const strips = (root, props, watch, trigger) => {
    let selected = { lane: 0, index: 0 };
    let data = null;

    const mark = () => {
      for (const node of root.querySelectorAll(".t[data-index]")) {
        const here = +node.dataset.lane === selected.lane && +node.dataset.index === selected.index;
        node.classList.toggle("sel", here);
        node.setAttribute("aria-pressed", here);
        node.tabIndex = here ? 0 : -1;
      }
      root.querySelectorAll(".lane").forEach((lane, number) => {
        const chosen = data.lanes[number].tokens[selected.index];
        const ghost = lane.querySelector(".ghost");
        ghost.replaceChildren();
        if (!chosen) return;
        const other = data.lanes[1 - number].name;
        const { words } = data;
        ghost.append(fill(words.step, { step: selected.index + 1 }));
        if (chosen.again) ghost.append(words.now, token(chosen.again, `voice ${data.lanes[number].side}`), "; ");
        if (chosen.ghost) ghost.append(fill(words.ghost, { lane: other }), token(chosen.ghost.text, `voice ${chosen.ghost.side}`));
        else ghost.append(fill(words.agrees, { lane: other }));
        if (data.fork !== null && selected.index > data.fork) ghost.append(words.contexts);
      });
    };

    // The page follows a key at once and asks for the rest as soon as the last answer has come, for the newest place
    // only: a key held down neither floods the server nor is pulled back by an older answer.
    let pick = null;
    let by = 0;
    let asked = 0;
    const ask = () => {
      if (asked || (!pick && !by)) return;
      asked = setTimeout(answered, 400); // an answer that changes nothing does not come
      if (pick) trigger("select", pick);
      else trigger("key_up", { by });
      if (pick) pick = null;
      else by = 0;
    };
    const answered = () => {
      clearTimeout(asked);
      asked = 0;
      ask();
    };

    const go = (node, focus) => {
      const same = +node.dataset.lane === selected.lane && +node.dataset.index === selected.index;
      selected = { lane: +node.dataset.lane, index: +node.dataset.index };
      mark();
      if (focus) node.focus();
      if (same) return;
      pick = { lane: selected.lane, step: selected.index + 1 };
      ask();
    };

    const drawLane = (lane, number) => {
      const card = make("section", `lane ${lane.side}`);
      card.setAttribute("aria-label", `${lane.name}: ${lane.text}`);
      const title = make("h2");
      title.append(lane.name, make("span", "", lane.subtitle));
      const strip = make("div", "strip");
      for (const piece of data.prompt) {
        const node = token(piece.text, "t p");
        node.title = piece.hint;
        strip.append(node);
      }
      lane.tokens.forEach((piece, index) => {
        if (index === data.fork) {
          const fork = make("span", "fork");
          fork.title = data.words.part;
          fork.setAttribute("role", "img");
          fork.setAttribute("aria-label", data.words.part);
          strip.append(fork);
        }
        const node = token(piece.text, ["t", piece.differs && "d", piece.changed && "w", piece.dim && "dim"].filter(Boolean).join(" "));
        if (piece.level) {
          node.classList.add("tint");
          node.style.setProperty("--level", `${Math.round(45 * piece.level)}%`);
        }
        node.dataset.lane = number;
        node.dataset.index = index;
        node.title = piece.hint;
        node.setAttribute("role", "button");
        node.setAttribute("aria-label", `${piece.text}, ${piece.hint}`);
        strip.append(node);
      });
      if (lane.running) strip.append(make("span", "caret", ""));
      if (lane.end) strip.append(make("span", "end", lane.end));
      card.append(title, strip, make("p", "ghost"));
      return card;
    };

    root.addEventListener("click", (event) => {
      const node = event.target.closest(".t[data-index]");
      if (node) go(node, true);
    });
    // Keys work anywhere on the page but where they already mean something: in fields, sliders, switches and tabs.
    const busy = "input, textarea, select, [contenteditable], [role=tab], [role=listbox], [role=option], dialog";
    const differences = () => data.lanes[selected.lane].tokens.flatMap((piece, index) => (piece.differs ? [index] : []));
    const target = (key, last) => {
      const at = selected.index;
      if (key === "n") return differences().find((index) => index > at);
      if (key === "p") return differences().findLast((index) => index < at);
      return { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Enter: at, " ": at }[key];
    };

    document.addEventListener("keydown", (event) => {
      const typed = event.getModifierState("AltGraph"); // [ and ] need it on many keyboards
      if (!data || !root.checkVisibility() || (!typed && (event.ctrlKey || event.metaKey || event.altKey))) return;
      if (event.target.closest(busy) || (event.shiftKey && event.key !== "?")) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const here = event.target.closest(".duet-strips .t[data-index]");
      if ((key === "Enter" || key === " ") && !here) return;
      if (key === "?") return showHelp(data.keys);
      if (key === "[" || key === "]") {
        by += key === "[" ? -1 : 1;
        return ask();
      }
      const nodes = root.querySelectorAll(`.t[data-lane="${selected.lane}"][data-index]`);
      const to = target(key, nodes.length - 1);
      if (to === undefined) return;
      event.preventDefault();
      if (nodes[to]) go(nodes[to], Boolean(here));
    });

    onValue(props, watch, (value) => {
      root.hidden = !value;
      if (!value) return;
      const focused = root.contains(document.activeElement);
      data = value;
      answered();
      if (!pick && !asked) selected = { ...value.selected };
      root.replaceChildren(...value.lanes.map(drawLane));
      mark();
      if (focused) root.querySelector(".t.sel")?.focus({ preventScroll: true });
    });
  };

  const sentence = (root, props, watch) => {
    root.setAttribute("aria-live", "polite");
    onValue(props, watch, (parts) => {
      root.replaceChildren(...(parts || []).map((part) => (part.side ? token(part.text, `voice ${part.side}`) : make("span", "", part.text))));
    });
  };

  const notice = (root, props, watch) => {
    root.setAttribute("role", "status");
    onValue(props, watch, (value) => {
      root.className = `duet-notice ${value?.tone || ""}`;
      root.textContent = value?.text || "";
      root.hidden = !value?.text;
    });
  };

  const recolour = (value, colours) => {
    if (typeof value === "string") return Object.hasOwn(colours, value) ? colours[value] : value;
    if (Array.isArray(value)) return value.map((item) => recolour(item, colours));
    if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recolour(item, colours)]));
    }
    return value;
  };

  // Plotly takes a browser half a second to begin with, so it comes when the page has been there for a while, or with
  // the first chart. If it does not come, the next chart asks again.
  const SETTLED = 1000;
  let coming = null;
  const plotly = (source) => {
    coming ||= new Promise((resolve) => {
      const script = make("script");
      script.src = source;
      script.onload = resolve;
      script.onerror = () => {
        script.remove();
        coming = null;
        resolve();
      };
      document.head.append(script);
    });
    return coming;
  };

  // Charts out of sight are drawn when they come into sight, and at the latest when the page has had a rest: what a
  // person looks at is painted first.
  const REST = 50;
  const waiting = new Map();
  let rest = 0;
  const drawWaiting = () => {
    const [next] = waiting.values();
    if (!next) return;
    next();
    rest = setTimeout(drawWaiting);
  };
  const drawLater = (plot, draw) => {
    waiting.set(plot, draw);
    clearTimeout(rest);
    rest = setTimeout(drawWaiting, REST);
  };
  const inSight = new WeakSet(); // asking a chart for its place would make the browser lay out the page each time
  const sight = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) inSight.delete(target);
      else {
        inSight.add(target);
        waiting.get(target)?.();
      }
    }
  });

  const chart = (root, props, watch, trigger, toDark, source) => {
    const title = make("h3");
    const sub = make("p", "sub");
    const plot = make("div", "plot");
    root.append(title, sub, plot);
    const isDark = () => document.body.classList.contains("dark");
    const known = {};
    let value = null;
    let listening = false;
    let narrow = window.innerWidth < 480;

    // Plotly draws anew what is another object than before; for what reads the same it gets the same one again.
    const asBefore = (parts, changed) => {
      for (const [name, value] of Object.entries(parts)) {
        const text = JSON.stringify(value);
        if (known[name]?.text !== text) {
          known[name] = { text, value };
          changed.push(name);
        }
        parts[name] = known[name].value;
      }
      return parts;
    };
    const MARKS = ["shapes", "annotations"];

    const paint = () => {
      waiting.delete(plot);
      plot.removeAttribute("aria-busy");
      const figure = recolour(value.figure, isDark() ? toDark : {});
      // On a phone a cell is narrower than its label.
      if (narrow) figure.data.forEach((trace) => trace.textfont && (trace.textfont = { ...trace.textfont, size: 7 }));
      const changed = [];
      const data = Object.values(asBefore({ ...figure.data }, changed));
      const layout = asBefore(figure.layout, changed);
      const sameParts = plot.data?.length === data.length && MARKS.every((name) => Boolean(plot.layout[name]) === Boolean(layout[name]));
      if (sameParts && changed.every((name) => MARKS.includes(name))) {
        // A heatmap whose marks alone move is not drawn again: a quarter of the time.
        if (changed.length) window.Plotly.relayout(plot, Object.fromEntries(changed.map((name) => [name, layout[name]])));
        return;
      }
      window.Plotly.react(plot, data, layout, { displayModeBar: false, responsive: true, showSendToCloud: false });
      if (listening) return;
      listening = true;
      plot.on("plotly_click", ({ points: [point] }) => trigger("select", { x: point.x, y: point.y, custom: point.customdata }));
    };

    const draw = () => {
      value = told(props);
      root.hidden = !value;
      if (!value) return waiting.delete(plot);
      title.textContent = value.title;
      title.style.display = value.title ? "" : "none"; // `hidden` would hide the whole component
      sub.textContent = value.sub;
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", value.alt);
      plot.style.height = `${value.figure.layout.height}px`;
      plot.setAttribute("aria-busy", "true"); // what is drawn is not yet what the words beside it say
      if (window.Plotly) show();
      else plotly(source).then(show);
    };

    const show = () => {
      if (!value || !window.Plotly) return;
      if (inSight.has(plot)) paint();
      else drawLater(plot, paint);
    };

    watch("value", draw);
    draw();
    sight.observe(plot);
    let dark = isDark();
    new MutationObserver(() => {
      if (dark !== isDark()) {
        dark = isDark();
        draw();
      }
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    // A chart that was drawn while its card had no width is drawn again when it gets one.
    new ResizeObserver(([{ contentRect }]) => {
      const was = narrow;
      if (contentRect.width) narrow = contentRect.width < 420;
      if (was !== narrow && plot.data) paint();
      if (plot.data) window.Plotly.Plots.resize(plot);
    }).observe(plot);
  };

  const rows = (root, props, watch, trigger) => {
    onValue(props, watch, (value) => {
      root.hidden = !value?.rows.length;
      if (root.hidden) return;
      const table = make("table");
      root.tabIndex = 0; // it may scroll
      root.setAttribute("role", "group");
      root.setAttribute("aria-label", value.title);
      const line = (tag, cells) => {
        const row = make("tr");
        row.append(...cells.map((cell) => make(tag, "", cell)));
        return row;
      };
      const head = line("th", value.head);
      for (const cell of head.children) cell.scope = "col";
      table.append(head);
      value.rows.forEach((cells, number) => {
        const row = line("td", cells);
        if (value.open) {
          const button = make("button", "", cells[0]);
          button.addEventListener("click", () => trigger("select", { by: number }));
          row.firstChild.replaceChildren(button);
        }
        table.append(row);
      });
      root.replaceChildren(make("h3", "", value.title), make("p", "sub", value.sub), table);
    });
  };

  const crumbs = (root, props, watch, trigger) => {
    root.setAttribute("role", "navigation");
    onValue(props, watch, (labels) => {
      root.hidden = !labels?.length;
      root.replaceChildren(
        ...(labels || []).map((label, number) => {
          const last = number === labels.length - 1;
          const node = make(last ? "span" : "button", "", label);
          if (last) node.setAttribute("aria-current", "page");
          else node.addEventListener("click", () => trigger("select", { by: number }));
          return node;
        }),
      );
    });
  };

  const save = (name, text, type) => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  // One file that draws itself: the page's own scripts, its style, and the parts as data.
  const report = async ({ css, parts }, toDark, source) => {
    if (!window.Plotly) await plotly(source);
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
      let said = words.copied;
      try {
        await navigator.clipboard.writeText(url);
      } catch {
        said = words.copy;
      }
      root.replaceChildren(make("span", "", said), field);
      root.hidden = false;
      field.select();
    };
    root.hidden = true;
    watch("value", async () => {
      const value = told(props);
      if (!value) return;
      root.hidden = true;
      if (value.kind === "link") await copy(value);
      if (value.kind === "file") save(value.name, value.text, "application/json");
      if (value.kind === "report") save(value.name, await report(value, toDark, source), "text/html");
    });
  };

  const MAX_FILE = 10_000_000;

  const inbox = (root, props, watch, trigger, toDark, source) => {
    const field = make("input");
    field.type = "file";
    field.accept = ".json,application/json";
    field.style.display = "none"; // `hidden` would hide the whole component
    const button = make("button");
    onValue(props, watch, (words) => {
      button.textContent = words.open;
      if (words.code) document.documentElement.lang = root.lang = words.code; // known once the page has arrived
      if (words.code && !window.Plotly) setTimeout(plotly, SETTLED, source); // charts are mounted when a run is over
      field.setAttribute("aria-label", words.file);
      document.querySelector(".duet-crumbs")?.setAttribute("aria-label", words.runs);
    });
    button.addEventListener("click", () => field.click());
    root.append(button, field);
    const read = async (file) => {
      if (!file) return;
      trigger("upload", { size: file.size, text: file.size > MAX_FILE ? "" : await file.text() });
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

  window.Duet = { strips, sentence, notice, chart, rows, crumbs, outbox, inbox };
})();
