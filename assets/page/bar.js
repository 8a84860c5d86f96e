// The bar under the texts, the chips under the prompt, and the menu of what can be saved.
(() => {
  if (Duet.bar) return;
  const { make, onValue, hide, button, recall, remember } = Duet.tools;

  // Gradio's own ↺ would put a slider back to where the page began with it; here it goes back to the run's value.
  const resets = (bar, trigger) => {
    bar.addEventListener(
      "click",
      (event) => {
        const reset = event.target.closest(".duet-fields button");
        const field = reset?.closest("[id]")?.id.match(/^(\w+)-(\d)$/);
        if (!field || !reset.closest(".head")) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        trigger("select", { text: "reset", custom: [field[2] - 1, field[1]] });
      },
      true,
    );
  };

  const bar = (root, props, watch, trigger) => {
    const frame = root.closest(".duet-sticky");
    if (frame) resets(frame, trigger);
    const pair = (text, back, on, step, ends) => {
      const node = make("span", "pair", text);
      const arrow = (sign, name, by, disabled) => {
        const made = button("arrow", sign, () => trigger("select", { text: step, by }), name);
        made.disabled = disabled;
        return made;
      };
      node.append(arrow("‹", back, -1, ends[0]), arrow("›", on, 1, ends[1]));
      return node;
    };
    onValue(props, watch, (value) => {
      if (!value) return;
      if (frame) frame.dataset.side = value.side;
      const { words } = value;
      root.replaceChildren();
      Duet.step = value.step;
      if (!value.step) return;
      const parts = [pair(value.step, words.previous, words.next, "step", [value.first, value.last])];
      if (value.differ) parts.push(pair(value.differ, words.previous_difference, words.next_difference, "difference", [false, false]));
      else parts.push(make("span", "", value.agree));
      const state = make("span", value.state ? "state what-if" : "state", value.state || words.as_run);
      if (value.state) state.append(" · ", button("back", words.back, () => trigger("select", { text: "back" }), words.back_name));
      root.append(...parts, state);
    });
  };

  const chips = (root, props, watch, trigger) => {
    let open = false;
    onValue(props, watch, (value) => {
      const draw = () => {
        if (hide(root, !value?.chips.length)) return root.replaceChildren();
        const shown = open ? value.chips : value.chips.slice(0, value.few);
        const nodes = shown.map((chip, number) => {
          const node = button("chip", chip.text, () => trigger(chip.recorded ? "select" : "submit", { by: number }), chip.hint);
          if (chip.outcome) node.append(" ", make("b", chip.outcome_kind, chip.outcome));
          node.removeAttribute("aria-label"); // its text says it
          return node;
        });
        const more = button("more", open ? value.fewer : value.more, () => {
          open = !open;
          draw();
          root.querySelector(".more")?.focus();
        });
        more.setAttribute("aria-expanded", open);
        root.classList.toggle("open", open);
        document.body.classList.toggle("unfolded-chips", open);
        root.replaceChildren(make("span", "lead", value.lead), ...nodes, ...(value.chips.length > value.few ? [more] : []));
        return undefined;
      };
      draw();
    });
  };

  const menu = (root, props, watch, trigger) => {
    const details = make("details");
    const summary = make("summary");
    const list = make("div", "items");
    details.append(summary, list);
    root.append(details);
    const close = () => (details.open = false);
    document.addEventListener("click", (event) => !details.contains(event.target) && close());
    details.addEventListener("keydown", (event) => event.key === "Escape" && (close(), summary.focus()));
    onValue(props, watch, (value) => {
      if (!value) return;
      summary.textContent = value.title;
      list.replaceChildren(
        ...value.items.map((text, by) =>
          button("", text, () => {
            close();
            trigger("select", { by });
          }),
        ),
      );
    });
  };

  // The folded parts of the page; the browser remembers which are open.
  const folds = (root, props, watch, trigger) => {
    const open = new Set((recall("folds") || "").split(" ").filter(Boolean));
    const tell = () => trigger("select", { custom: [...open] }); // what is folded away is not drawn
    if (open.size) setTimeout(tell);
    onValue(props, watch, (value) => {
      const draw = () => {
        root.replaceChildren(
          ...(value?.items || []).map(([name, text]) => {
            const node = button("fold-button", text, () => {
              if (!open.delete(name)) open.add(name);
              remember("folds", [...open].join(" "));
              draw();
              root.querySelector(`[data-name="${name}"]`).focus();
              tell();
            });
            node.dataset.name = name;
            node.setAttribute("aria-expanded", open.has(name));
            node.setAttribute("aria-controls", `fold-${name}`);
            document.body.classList.toggle(`unfolded-${name}`, open.has(name));
            return node;
          }),
        );
      };
      draw();
    });
  };

  const lead = (root, props, watch) =>
    onValue(props, watch, (value) => {
      if (value) root.replaceChildren(make("p", "title", value.title), make("p", "", value.text));
    });

  Object.assign(Duet, { bar, chips, menu, folds, lead });
})();
