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

  // Fill in the placeholders of words, which arrive with the data.
  const fill = (words, values) => words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

  window.Duet = { tools: { make, token, valueOf, onValue, fill } };
})();
