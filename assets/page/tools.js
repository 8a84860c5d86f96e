// What the page's own components (app/ui/components.py) are drawn with. Text arrives as data and is written with
// textContent. The server sends tools.js and the other scripts of this folder as one, duet.js.
(() => {
  if (window.Duet) return;

  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // The text of a token, with the marks for white space in grey.
  const token = (text, className) => {
    const node = make("span", className);
    for (const part of text.split(/([␣⏎␍⇥⍽]+)/)) {
      if (part) node.append(/^[␣⏎␍⇥⍽]/.test(part) ? make("i", "", part) : part);
    }
    return node;
  };

  // A component's value; it arrives as JSON text.
  const valueOf = (props) => (props.value ? JSON.parse(props.value) : null);
  // Draw the value now and whenever it changes.
  const onValue = (props, watch, draw) => {
    watch("value", () => draw(valueOf(props)));
    draw(valueOf(props));
  };

  // Hide a component: an attribute stands on its frames, too, so that they take no room. (A rule with :has would say the
  // same, and make the browser match the styles of the whole page again with every change to a chart.)
  const hide = (root, isHidden) => {
    root.hidden = isHidden;
    for (let frame = root.closest(".duet-drawn"); frame; frame = frame.parentElement.closest(".duet-drawn")) {
      frame.toggleAttribute("data-empty", isHidden);
    }
    return isHidden;
  };

  // A button whose name for screen readers says more than its sign, if it has one.
  const button = (className, text, act, name) => {
    const node = make("button", className, text);
    node.type = "button";
    if (name) node.title = name;
    if (name) node.setAttribute("aria-label", name);
    node.addEventListener("click", act);
    return node;
  };

  // Resolved once the page can be used; what takes long and is not seen at once waits for it.
  let isReady;
  const ready = new Promise((resolve) => (isReady = resolve));

  // What a visitor prefers, kept in their browser where it allows that.
  const recall = (name) => {
    try {
      return localStorage.getItem(`duet-${name}`);
    } catch {
      return null;
    }
  };
  const remember = (name, value) => {
    try {
      localStorage.setItem(`duet-${name}`, value);
    } catch {
      // it lasts as long as the page, then
    }
  };

  window.Duet = { tools: { make, token, valueOf, onValue, hide, button, ready, isReady, recall, remember } };
})();
