// A chart as a picture: PNG or SVG, with its title, its key and the settings of the run, which on the page stand beside it.
(() => {
  if (Duet.tools.picture) return;
  const { make, button } = Duet.tools;

  const SCALE = 2; // pixels of a PNG for each of the page
  const LINE = 17;
  const LETTER = 6.2; // width of one in a caption, on average
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;"); // Plotly reads some HTML

  // The prompt and the step that is looked at, and what each lane is and how it decodes.
  const PROMPT = 120;
  const settings = () => {
    const [prompt = "", ...lanes] = Duet.run || [];
    const asked = prompt.trim().replace(/\s+/g, " ");
    return [`“${asked.length > PROMPT ? `${asked.slice(0, PROMPT)}…` : asked}”${Duet.step ? ` · ${Duet.step}` : ""}`, ...lanes];
  };

  // Parts in as many lines as they need; each part is [text, what Plotly gets of it].
  const inLines = (parts, most, between) => {
    const lines = [];
    let room = 0;
    for (const [text, html] of parts) {
      if (text.length > room) {
        lines.push([]);
        room = most;
      }
      lines.at(-1).push(html);
      room -= text.length + between.length;
    }
    return lines.map((line) => line.join(between));
  };
  const wrapped = (text, most) => inLines(text.split(" ").map((word) => [word, plain(word)]), most, " ");

  // The figure with its captions: everything that the page writes as text above and below it.
  const captioned = ({ data, layout, clientWidth: width, clientHeight }, { title, sub, key, scale }, colours) => {
    const most = Math.floor(width / LETTER);
    const entries = (key || []).map(({ text, colour }) => [`■ ${text}`, `<span style="color:${colour}">■</span> ${plain(text)}`]);
    const head = wrapped(title, most * 0.85).map((line) => `<b>${line}</b>`);
    const lines = [...head, ...wrapped(sub, most), ...inLines(entries, most, "   ")];
    const below = settings().flatMap((text) => wrapped(text, most * 1.1));
    const margin = { ...layout.margin, t: layout.margin.t + LINE * lines.length + 8, b: layout.margin.b + LINE * below.length + 8 };
    const height = clientHeight + LINE * (lines.length + below.length) + 16;
    // Annotations refer to the plot and not to the whole picture: their places are worked out from its margins.
    const inner = { w: width - margin.l - margin.r, h: height - margin.t - margin.b };
    const caption = (text, top, size, color) => ({
      text, xref: "paper", x: (10 - margin.l) / inner.w, xanchor: "left", yref: "paper", y: 1 + (margin.t - top) / inner.h, yanchor: "top", align: "left", showarrow: false, font: { size, color },
    });
    const placed = [
      ...lines.map((text, number) => caption(text, 6 + LINE * number, number < head.length ? 14 : 12, number < head.length ? colours.ink : colours.mute)),
      ...below.map((text, number) => caption(text, height - 6 - LINE * (below.length - number), 11, colours.mute)),
    ];
    return {
      data: data.map((trace) => (scale && trace.type === "heatmap" ? { ...trace, showscale: true } : trace)),
      layout: { ...layout, width, height, margin, paper_bgcolor: colours.card, annotations: [...(layout.annotations || []), ...placed] },
    };
  };

  const named = (title, format) => `dola-duet-${title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60)}.${format}`;

  // Save what a chart shows; `plot` is its element, `value` the component's.
  const save = async (plot, value, format) => {
    const style = getComputedStyle(document.body);
    const colour = (name) => style.getPropertyValue(`--duet-${name}`).trim();
    const figure = captioned(plot, value, { ink: colour("ink"), mute: colour("mute"), card: colour("card") });
    const { width, height } = figure.layout;
    const link = make("a");
    link.href = await window.Plotly.toImage(figure, { format, width, height, scale: format === "png" ? SCALE : 1 });
    link.download = named(value.title, format);
    link.click();
  };

  // The button beside a chart's title, which unfolds one for each format. `shown` returns the component's value.
  const picture = (plot, shown) => {
    const root = make("details", "picture");
    const handle = make("summary", "", "⤓");
    const menu = make("div", "menu");
    root.append(handle, menu);
    for (const format of ["png", "svg"]) {
      menu.append(
        button("", format.toUpperCase(), async () => {
          root.open = false;
          if (plot.data) await save(plot, shown(), format);
        }),
      );
    }
    root.addEventListener("focusout", ({ relatedTarget }) => {
      if (!root.contains(relatedTarget)) root.open = false;
    });
    root.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") root.open = false;
    });
    return { root, name: (text) => handle.setAttribute("aria-label", text) };
  };

  Object.assign(Duet.tools, { picture });
})();
