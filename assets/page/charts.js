// Plotly charts: loaded late, drawn when they come into sight, recoloured in the dark.
(() => {
  if (Duet.chart) return;
  const { make, valueOf, hide, ready, picture } = Duet.tools;

  const recolour = (value, colours) => {
    if (typeof value === "string") return Object.hasOwn(colours, value) ? colours[value] : value;
    if (Array.isArray(value)) return value.map((item) => recolour(item, colours));
    if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recolour(item, colours)]));
    }
    return value;
  };

  // To load Plotly keeps a browser busy, so the page is made ready before. If loading fails, the next chart tries again.
  let loading = null;
  const loadPlotly = (source) => {
    loading ||= new Promise((resolve) => {
      const script = make("script");
      script.src = source;
      script.onload = resolve;
      script.onerror = () => {
        script.remove();
        loading = null;
        resolve();
      };
      document.head.append(script);
    });
    return loading;
  };

  // Charts in sight are drawn first. The others are drawn when they scroll into sight, or one by one once no further
  // chart has arrived for REST ms.
  const REST = 50;
  const waiting = new Map();
  let rest = 0;
  const drawWaiting = () => {
    const next = [...waiting].find(([plot]) => plot.checkVisibility()); // what is folded away waits until it is not
    if (!next) return;
    next[1]();
    rest = setTimeout(drawWaiting);
  };
  const drawLater = (plot, draw) => {
    waiting.set(plot, draw);
    clearTimeout(rest);
    rest = setTimeout(drawWaiting, REST);
  };
  // Plotly measures what it has drawn. What else has changed on the page is written before, so that it is laid out once.
  const together = new Map();
  const drawTogether = (plot, draw) => {
    if (!together.size) {
      setTimeout(() => {
        const drawn = [...together.values()];
        together.clear();
        for (const one of drawn) one();
      });
    }
    together.set(plot, draw);
  };
  const inSight = new WeakSet(); // to measure where a chart is would make the browser lay out the page each time
  const sight = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) inSight.delete(target);
      else {
        inSight.add(target);
        waiting.get(target)?.();
      }
    }
  });

  // Plotly's own `automargin` would draw a chart twice to see how long its labels are.
  const pen = document.createElement("canvas").getContext("2d");
  const roomForLabels = ({ font, margin, yaxis }) => {
    pen.font = `${yaxis.tickfont.size}px ${font.family}`;
    const widths = yaxis.ticktext.map((text) => pen.measureText(text.replaceAll("&lt;", "<").replaceAll("&amp;", "&")).width);
    return { ...margin, l: Math.ceil(Math.max(margin.l, ...widths.map((width) => width + 8))) };
  };

  // On a phone some parts of a layout are others; the figure brings them.
  const WIDE = 480;
  const fitted = ({ meta, ...layout }, narrow) => {
    for (const [name, part] of Object.entries((narrow && meta?.narrow) || {})) {
      layout[name] = Array.isArray(part) ? part : { ...layout[name], ...part };
    }
    if (meta?.labels) layout.margin = roomForLabels(layout);
    return layout;
  };

  // The names of a chart's lines and bars.
  const keyEntry = ({ text, colour, dash }) => {
    const entry = make("li");
    const sample = make("i", dash || "bar");
    sample.style.setProperty("--sample", colour);
    entry.append(sample, make("span", "", text));
    return entry;
  };

  // The bar of a heatmap's shades, with words at its ends and numbers below.
  const scaleParts = ({ pale, deep, colours, ticks }) => {
    const bar = make("div", "shades");
    const colour = make("div", "bar");
    colour.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
    bar.append(colour);
    for (const [place, text] of ticks) {
      const tick = make("span", "", text);
      tick.style.left = `${100 * place}%`;
      bar.append(tick);
    }
    return [make("span", "", pale), bar, make("span", "", deep)];
  };

  const chart = (root, props, watch, trigger, toDark, source) => {
    const name = make("div", "name");
    const title = make("h3");
    const about = make("button", "about", "ⓘ");
    const sub = make("p", "sub");
    const more = make("div", "more");
    const key = make("ul", "key");
    const scale = make("div", "scale");
    const plot = make("div", "plot");
    const saved = picture(plot, () => ({ ...value, ...recolour({ key: value.key }, isDark() ? toDark : {}) }));
    name.append(title, about, saved.root);
    root.append(name, sub, more, scale, key, plot);
    about.type = "button";
    const explain = (isOpen) => {
      more.classList.toggle("open", isOpen);
      about.setAttribute("aria-expanded", isOpen);
    };
    about.addEventListener("click", () => explain(about.getAttribute("aria-expanded") !== "true"));
    explain(false);
    const shown = (node, isShown) => (node.style.display = isShown ? "" : "none");
    const isDark = () => document.body.classList.contains("dark");
    const known = {};
    let value = null;
    let listening = false;
    let narrow = window.innerWidth < WIDE;

    // Plotly redraws parts whose object has changed, so a part that reads the same is passed as the same object again.
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
      const changed = [];
      const data = Object.values(asBefore({ ...figure.data }, changed));
      const layout = asBefore(fitted(figure.layout, narrow), changed);
      const sameParts = plot.data?.length === data.length && MARKS.every((name) => Boolean(plot.layout[name]) === Boolean(layout[name]));
      if (sameParts && changed.every((name) => MARKS.includes(name))) {
        // Only lines and annotations have moved: without redrawing, a heatmap takes a quarter of the time.
        if (changed.length) window.Plotly.relayout(plot, Object.fromEntries(changed.map((name) => [name, layout[name]])));
        return;
      }
      window.Plotly.react(plot, data, layout, { displayModeBar: false, responsive: true, showSendToCloud: false });
      if (listening) return;
      listening = true;
      plot.on("plotly_click", ({ points: [point] }) => trigger("select", { x: point.x, y: point.y, custom: point.customdata }));
    };

    const draw = () => {
      value = valueOf(props);
      if (hide(root, !value)) return waiting.delete(plot);
      const notes = [...(value.more || []), ...(value.hints || [])];
      const drawn = recolour({ key: value.key || [], scale: value.scale }, isDark() ? toDark : {});
      title.textContent = value.title;
      sub.textContent = value.sub;
      about.setAttribute("aria-label", [value.about, value.title].filter(Boolean).join(": "));
      saved.name([value.save, value.title].filter(Boolean).join(": "));
      more.replaceChildren(...notes.map((note) => make("p", "", note)));
      key.replaceChildren(...drawn.key.map(keyEntry));
      key.classList.toggle("long", drawn.key.length > 3); // two rows, for which the figure leaves room
      scale.replaceChildren(...(drawn.scale ? scaleParts(drawn.scale) : []));
      shown(name, value.title || notes.length);
      shown(about, notes.length);
      shown(saved.root, value.save);
      shown(sub, value.sub);
      shown(key, drawn.key.length);
      shown(scale, drawn.scale);
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", value.alt);
      plot.style.height = `${value.figure.layout.height}px`;
      plot.setAttribute("aria-busy", "true"); // the drawing does not match the words beside it yet
      if (window.Plotly) show();
      else ready.then(() => loadPlotly(source)).then(show);
    };

    const show = () => {
      if (!value || !window.Plotly) return;
      if (inSight.has(plot)) drawTogether(plot, paint);
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
    // A chart drawn while its card had no width is redrawn when the card gets one.
    new ResizeObserver(([{ contentRect }]) => {
      const was = narrow;
      if (contentRect.width) narrow = contentRect.width < WIDE;
      if (was !== narrow && plot.data) paint();
      if (plot.data && plot.checkVisibility()) window.Plotly.Plots.resize(plot); // Plotly rejects a hidden one
    }).observe(plot);
  };

  Object.assign(Duet.tools, { loadPlotly });
  Object.assign(Duet, { chart });
})();
