// Elements of the page. Text becomes text nodes: nothing here, or in any other file, parses HTML.

// element("p", {class: "note", onclick: f}, "text", otherElement): null, undefined and false add nothing.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const heading = (level, text) => element(`h${level}`, {}, text);
const note = (text) => element("p", { class: "note" }, text);
