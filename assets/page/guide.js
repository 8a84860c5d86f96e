// How one word was chosen, in three cards: what the last layer proposes, what is subtracted, what is cut.
(() => {
  if (Duet.guide) return;
  const { make, token, onValue, hide, button } = Duet.tools;

  const parts = (className, said) => {
    const node = make("p", className);
    node.append(...said.map((part) => make(part.side ? "b" : "span", part.side, part.text)));
    return node;
  };

  const drawRow = (row) => {
    const node = make("li", row.is_cut ? "cut" : "");
    const bar = make("span", "bar");
    const fill = make("i");
    fill.style.width = `${100 * row.width}%`;
    bar.setAttribute("aria-hidden", "true");
    bar.append(fill);
    const name = token(row.token, "token");
    if (row.is_cut) {
      const struck = make("s");
      struck.append(...name.childNodes);
      name.append(struck);
    }
    node.append(name, ...row.marks.map((mark) => make("b", `mark ${mark.side}`, mark.text)), ...(row.detail ? [make("span", "detail", row.detail)] : []), make("span", "value", row.value), bar);
    return node;
  };

  const drawStep = (step, index) => {
    const card = make("li", `step ${step.side}`);
    const title = make("h3");
    const number = make("span", "number", `${index + 1}`);
    number.setAttribute("aria-hidden", "true"); // the list counts
    title.append(number, step.title);
    const rows = make("ul", "rows");
    rows.append(...step.rows.map(drawRow));
    const notes = make("div", "notes");
    notes.append(...step.notes.map((note) => make("p", "", note)));
    card.append(title, parts("said", step.said), make("p", "sub", step.sub), rows, notes);
    return card;
  };

  const guide = (root, props, watch, trigger) => {
    onValue(props, watch, (value) => {
      if (hide(root, !value)) return;
      const title = make("h2", "", value.title);
      if (value.empty) return root.replaceChildren(title, make("p", "empty", value.empty));
      const where = make("p", "where");
      where.append(make("span", "step-name", value.where), make("span", "before", value.before), " ▸ ");
      value.options.forEach((option, index) => where.append(index ? " / " : "", make("b", option.side, option.text)));
      const steps = make("ol", "steps");
      steps.append(...value.steps.map(drawStep));
      const { text, lane, step } = value.show;
      root.replaceChildren(title, where, steps, button("show", text, () => trigger("select", { lane, step })));
      return undefined;
    });
  };

  Object.assign(Duet, { guide });
})();
