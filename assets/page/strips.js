// The lanes' texts, as running text or token by token, and the keys that walk them.
(() => {
  if (Duet.strips) return;
  const { make, token, onValue, hide, button, recall, remember } = Duet.tools;

  const KEYS = { step: "← →", ends: "Home End", lane: "↑ ↓", difference: "P N", layer: "[ ]", help: "?" };
  const VIEWS = ["text", "tokens"];

  const showHelp = (words) => {
    const dialog = document.querySelector(".duet-help") || document.body.appendChild(make("dialog", "duet-help"));
    const title = make("h3", "", words.title);
    title.id = "duet-help-title";
    dialog.setAttribute("aria-labelledby", title.id);
    const list = make("dl");
    for (const [name, key] of Object.entries(KEYS)) list.append(make("dt", "", key), make("dd", "", words[name]));
    dialog.replaceChildren(title, list, button("", words.close, () => dialog.close()));
    dialog.showModal();
  };

  const strips = (root, props, watch, trigger) => {
    let selected = { lane: 0, index: 0 };
    let data = null;
    let unfolded = false;
    let reading = VIEWS.find((view) => view === recall("reading")) || VIEWS[0];
    let wasRunning = false;

    // The style sheet asks the panes what stands in them, and whether they are more than two.
    const panes = root.closest(".duet-panes");
    const count = () => panes.toggleAttribute("data-many", panes.querySelectorAll(":scope > .duet-pane").length > 2);
    if (panes) {
      count();
      new MutationObserver(count).observe(panes, { childList: true });
    }

    const mark = () => {
      for (const node of root.querySelectorAll(".t[data-index]")) {
        const here = +node.dataset.lane === selected.lane && +node.dataset.index === selected.index;
        node.classList.toggle("sel", here);
        node.setAttribute("aria-pressed", here);
        node.tabIndex = here ? 0 : -1;
      }
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

    // An image of the prompt: its small picture, if the trace has one, or its size in words.
    const picture = ({ url, text }) => {
      const node = make(url ? "img" : "span", "image", url ? undefined : `⟨${text}⟩`);
      if (url) Object.assign(node, { src: url, alt: text });
      node.title = text;
      return node;
    };

    const fold = (text, images = []) => {
      const node = button("fold", "", () => {
        unfolded = !unfolded;
        redraw();
      });
      node.append(...images.map(picture), text);
      node.setAttribute("aria-expanded", unfolded);
      return node;
    };

    const promptToken = (piece) => {
      const node = token(piece.text, "t p");
      node.title = piece.hint;
      return node;
    };

    // Token by token, the chat template's parts of the prompt are folded away until somebody opens them.
    const promptTokens = () => {
      const nodes = cells(data.prompt, promptToken);
      const parts = [];
      let at = 0;
      for (const part of data.folded) {
        const inside = (node) => node.from >= part.from && node.from < part.to;
        parts.push(...nodes.filter((node) => node.from >= at && node.from < part.from).map((node) => node.node), fold(part.text, part.images ? data.images : []));
        if (unfolded) parts.push(...nodes.filter(inside).map((node) => node.node));
        at = part.to;
      }
      return [...parts, ...nodes.filter((node) => node.from >= at).map((node) => node.node)];
    };

    // As text, a long prompt or a chat's is folded to one chip, which the first lane shows.
    const promptText = (number) => {
      const pieces = data.prompt.map((piece) => piece.plain);
      if (!data.chip) return [...(number ? [] : data.images.map(picture)), make("span", "p", pieces.slice(...data.own).join(""))];
      const text = make("span", "p", pieces.join(""));
      return number ? [] : [fold(data.chip, data.images), ...(unfolded ? [text] : [])];
    };

    // The bytes of one character stand in one dotted cell: the nodes of its tokens, each with its place.
    const cells = (pieces, draw) => {
      const made = [];
      let open = null;
      pieces.forEach((piece, index) => {
        const node = draw(piece, index);
        const begins = piece.text === "…" && !piece.plain; // a character that a later token ends
        if (!begins && !open) return made.push({ from: index, node });
        if (!open) {
          open = make("span", "cell");
          made.push({ from: index, node: open });
        }
        open.append(node);
        if (!begins) open = null;
        return undefined;
      });
      return made;
    };

    const textNode = (lane, number, index) => {
      const piece = lane.tokens[index];
      const node = reading === "text" ? make("span") : token(piece.text);
      node.className = ["t", piece.differs && "d", piece.changed && "w", piece.dim && "dim"].filter(Boolean).join(" ");
      if (piece.level) {
        node.classList.add("tint");
        node.style.setProperty("--level", `${Math.round(45 * piece.level)}%`);
      }
      node.dataset.lane = number;
      node.dataset.index = index;
      node.title = piece.hint;
      node.setAttribute("role", "button");
      node.setAttribute("aria-label", `${piece.text}, ${piece.hint}`);
      return node;
    };

    const forkMark = () => {
      const fork = make("span", "fork");
      fork.title = data.words.part;
      fork.setAttribute("role", "img");
      fork.setAttribute("aria-label", data.words.part);
      return fork;
    };

    // Running text: the space before a word stands outside of its mark unless the word before is marked, too.
    const asText = (lane, number) =>
      lane.tokens.flatMap((piece, index) => {
        const node = textNode(lane, number, index);
        if (piece.stops) {
          node.append(make("span", "stop", data.words.stops));
          return [index === lane.fork && lane.fork > 0 ? forkMark() : "", node];
        }
        const [, space, word] = piece.plain.match(/^(\s*)([\s\S]*)$/);
        const joined = piece.differs && index && lane.tokens[index - 1].differs && index !== lane.fork;
        const outside = word && !joined ? space : "";
        // Of several ends of lines one is shown: empty lines would push the charts out of sight.
        const before = index ? lane.tokens[index - 1].plain : "";
        const text = piece.plain.slice(outside.length).replace(/\n\s*\n/g, "\n");
        node.textContent = /\n\s*$/.test(before) && !word ? text.replaceAll("\n", "") : text;
        return [index === lane.fork && lane.fork > 0 ? forkMark() : "", outside.replace(/\n\s*\n/g, "\n"), node];
      });

    const asTokens = (lane, number) =>
      cells(lane.tokens, (_, index) => textNode(lane, number, index)).flatMap(({ from, node }) => (from === lane.fork ? [forkMark(), node] : [node]));

    const switchOfViews = () => {
      const group = make("span", "views");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", data.words.views);
      for (const view of VIEWS) {
        const node = button("", data.words[`view_${view}`], () => {
          reading = view;
          remember("reading", view);
          redraw();
          root.querySelector(`.views button[aria-pressed="true"]`)?.focus();
        });
        node.setAttribute("aria-pressed", view === reading);
        group.append(node);
      }
      return group;
    };

    const drawLane = (lane, number) => {
      const card = make("section", `lane ${lane.side}${lane.as_run ? "" : " other"}`);
      card.setAttribute("aria-label", `${lane.name}: ${lane.text}`);
      const title = make("h2");
      title.append(make("b", "", lane.name)); // the pane's header names it, too
      if (number === 0 && data.label) title.append(make("span", "tag", data.label));
      if (number === 0 && data.label) card.classList.add("tagged");
      title.append(make("span", "", lane.subtitle));
      if (lane.end) title.append(make("span", "end", lane.end));
      if (number === 0) title.append(switchOfViews());
      const strip = make("div", `strip ${reading}`);
      if (reading === "text") strip.append(...promptText(number), ...asText(lane, number));
      else strip.append(...promptTokens(), ...asTokens(lane, number));
      if (lane.running) strip.append(make("span", "caret", ""));
      card.append(title, strip);
      return card;
    };

    const invite = () => {
      const card = make("div", "invitation");
      card.append(make("p", "", data.invitation), button("", data.words.run_this, () => trigger("submit", {})));
      return card;
    };

    // What a picture of a chart says of the run it is of.
    const note = ({ prompt, own, lanes }) => {
      Duet.run = [prompt.slice(...own).map(({ plain }) => plain).join(""), ...lanes.map(({ name, subtitle }) => `${name} · ${subtitle}`)];
    };

    const redraw = () => {
      if (data.prompt) note(data);
      root.replaceChildren(...(data.invitation ? [invite()] : data.lanes.map(drawLane)));
      if (panes) panes.dataset.holds = data.invitation ? "invitation" : "lanes";
      mark();
    };

    root.addEventListener("click", (event) => {
      const node = event.target.closest(".t[data-index]");
      if (node) go(node, true);
    });
    // Keys work anywhere on the page except where they have a meaning of their own: in fields, sliders, switches, tabs.
    const busy = "input, textarea, select, [contenteditable], [role=tab], [role=listbox], [role=option], dialog";
    const nodeAt = ([lane, index]) => root.querySelector(`.t[data-lane="${lane}"][data-index="${index}"]`);
    const isAfter = ([lane, index]) => lane > selected.lane || (lane === selected.lane && index > selected.index);
    const isBefore = ([lane, index]) => lane < selected.lane || (lane === selected.lane && index < selected.index);
    // The choices that are underlined: of the lane looked at all, of the others those that no earlier lane has as well.
    const underlined = () => {
      const own = data.lanes[selected.lane].tokens.flatMap((piece, index) => (piece.differs ? [[selected.lane, index]] : []));
      const others = data.differences.filter(([lane]) => lane !== selected.lane);
      return [...own, ...others].sort(([a, x], [b, y]) => a - b || x - y);
    };
    const beside = (by) => {
      const lane = selected.lane + by;
      return [lane, Math.min(selected.index, (data.lanes[lane]?.tokens.length || 0) - 1)];
    };
    const target = (key) => {
      const { lane, index } = selected;
      const last = data.lanes[lane].tokens.length - 1;
      if (key === "n") return underlined().find(isAfter);
      if (key === "p") return underlined().findLast(isBefore);
      if (key === "ArrowUp" || key === "ArrowDown") return beside(key === "ArrowUp" ? -1 : 1);
      const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last, Enter: index, " ": index }[key];
      return to === undefined ? undefined : [lane, to];
    };

    document.addEventListener("keydown", (event) => {
      const typed = event.getModifierState("AltGraph"); // [ and ] need it on many keyboards
      if (!data?.lanes.length || !root.querySelector(".lane")?.checkVisibility() || (!typed && (event.ctrlKey || event.metaKey || event.altKey))) return;
      if (event.target.closest(busy) || (event.shiftKey && event.key !== "?")) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const here = event.target.closest(".duet-strips .t[data-index]");
      if ((["Enter", " ", "ArrowUp", "ArrowDown"].includes(key)) && !here) return; // they scroll the page, or press a button
      if (key === "?") return showHelp(data.keys);
      if (key === "[" || key === "]") {
        by += key === "[" ? -1 : 1;
        return ask();
      }
      const to = target(key);
      if (to === undefined) return;
      event.preventDefault();
      const node = nodeAt(to);
      if (node) go(node, Boolean(here));
    });

    // The first words of a run come into sight, should they appear below the window's end.
    const lookAt = () => {
      const running = data.lanes.some((lane) => lane.running);
      if (running && !wasRunning) {
        const top = root.querySelector(".lane")?.getBoundingClientRect().top;
        if (top > window.innerHeight - 120) document.querySelector(".duet-panes").scrollIntoView({ block: "start", behavior: "smooth" });
      }
      wasRunning = running;
    };

    onValue(props, watch, (value) => {
      document.getElementById("duet-first")?.remove(); // what stood here before the scripts had loaded
      hide(root, !value);
      // While texts have no step that is looked at, the charts are of an earlier run.
      document.body.classList.toggle("duet-running", value?.selected?.index < 0);
      if (!value) {
        data = null;
        panes?.removeAttribute("data-holds");
        root.replaceChildren();
        return;
      }
      const focused = root.contains(document.activeElement) && document.activeElement.matches(".t");
      data = value;
      answered();
      if (!pick && !pending) selected = { ...(value.selected || selected) };
      redraw();
      lookAt();
      if (focused) root.querySelector(".t.sel")?.focus({ preventScroll: true });
    });
  };

  Object.assign(Duet, { strips });
})();
