// Sentences, messages, tables and the way back to earlier runs.
(() => {
  if (Duet.sentence) return;
  const { make, token, onValue, hide } = Duet.tools;

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
      hide(root, !value?.text);
    });
  };

  const rows = (root, props, watch, trigger) => {
    onValue(props, watch, (value) => {
      if (hide(root, !value?.rows.length)) return;
      const table = make("table");
      root.tabIndex = 0; // so that the keyboard can scroll it
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
          button.addEventListener("click", () => trigger("select", { by: value.keys ? value.keys[number] : number }));
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
      hide(root, !labels?.length);
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

  Object.assign(Duet, { sentence, notice, rows, crumbs });
})();
