// The two token strips, and the keys that walk them.
(() => {
  if (Duet.strips) return;
  const { make, token, onValue, fill } = Duet.tools;

  const KEYS = { step: "← →", ends: "Home End", difference: "P N", layer: "[ ]", help: "?" };

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
    let unfolded = false;

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

    // A key moves the selection at once. The server is asked for the rest when its last answer has arrived, and for the
    // newest position only, so that a held key neither floods the server nor is set back by an older answer.
    let pick = null;
    let by = 0;
    let pending = 0;
    const ask = () => {
      if (pending || (!pick && !by)) return;
      pending = setTimeout(answered, 400); // where nothing changes, no answer arrives
      if (pick) trigger("select", pick);
      else trigger("key_up", { by });
      if (pick) pick = null;
      else by = 0;
    };
    const answered = () => {
      clearTimeout(pending);
      pending = 0;
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

    // The chat template's parts of the prompt are folded away until somebody opens them; then they stay open.
    const promptNodes = () => {
      const nodes = data.prompt.map((piece) => {
        const node = token(piece.text, "t p");
        node.title = piece.hint;
        return node;
      });
      const parts = [];
      let at = 0;
      for (const part of data.folded) {
        const button = make("button", "fold", part.text);
        button.setAttribute("aria-expanded", unfolded);
        button.addEventListener("click", () => {
          unfolded = !unfolded;
          redraw();
        });
        parts.push(...nodes.slice(at, part.from), button, ...(unfolded ? nodes.slice(part.from, part.to) : []));
        at = part.to;
      }
      return [...parts, ...nodes.slice(at)];
    };

    const drawLane = (lane, number) => {
      const card = make("section", `lane ${lane.side}`);
      card.setAttribute("aria-label", `${lane.name}: ${lane.text}`);
      const title = make("h2");
      title.append(lane.name, make("span", "", lane.subtitle));
      const strip = make("div", "strip");
      strip.append(...promptNodes());
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

    const redraw = () => {
      root.replaceChildren(...data.lanes.map(drawLane));
      mark();
    };

    root.addEventListener("click", (event) => {
      const node = event.target.closest(".t[data-index]");
      if (node) go(node, true);
    });
    // Keys work anywhere on the page except where they have a meaning of their own: in fields, sliders, switches, tabs.
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
      if (!value) {
        data = null;
        root.replaceChildren();
        return;
      }
      const focused = root.contains(document.activeElement);
      data = value;
      answered();
      if (!pick && !pending) selected = { ...value.selected };
      redraw();
      if (focused) root.querySelector(".t.sel")?.focus({ preventScroll: true });
    });
  };

  Object.assign(Duet, { strips });
})();
