// Plotly charts: loaded late, drawn when they come into sight, recoloured in the dark.
(() => {
  if (Duet.chart) return;
  const { make, valueOf, onValue } = Duet.tools;

  const recolour = (value, colours) => {
    if (typeof value === "string") return Object.hasOwn(colours, value) ? colours[value] : value;
    if (Array.isArray(value)) return value.map((item) => recolour(item, colours));
    if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recolour(item, colours)]));
    }
    return value;
  };

  // Loading Plotly takes a browser half a second, so it is loaded a while after the page or with the first chart. If
  // loading fails, the next chart tries again.
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
      // On a phone a cell is narrower than its label.
      if (narrow) figure.data.forEach((trace) => trace.textfont && (trace.textfont = { ...trace.textfont, size: 7 }));
      const changed = [];
      const data = Object.values(asBefore({ ...figure.data }, changed));
      const layout = asBefore(figure.layout, changed);
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
      root.hidden = !value;
      if (!value) return waiting.delete(plot);
      title.textContent = value.title;
      title.style.display = value.title ? "" : "none"; // `hidden` would hide the whole component
      sub.textContent = value.sub;
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", value.alt);
      plot.style.height = `${value.figure.layout.height}px`;
      plot.setAttribute("aria-busy", "true"); // the drawing does not match the words beside it yet
      if (window.Plotly) show();
      else loadPlotly(source).then(show);
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
    // A chart drawn while its card had no width is redrawn when the card gets one.
    new ResizeObserver(([{ contentRect }]) => {
      const was = narrow;
      if (contentRect.width) narrow = contentRect.width < 420;
      if (was !== narrow && plot.data) paint();
      if (plot.data && plot.checkVisibility()) window.Plotly.Plots.resize(plot); // Plotly rejects a hidden one
    }).observe(plot);
  };

  Duet.tools.loadPlotly = loadPlotly;
  Object.assign(Duet, { chart });
})();
