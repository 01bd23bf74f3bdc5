// Small helpers over the DOM. Text always goes in as text: nothing here, and nothing
// in the page, parses a string as markup.

export const $ = (id) => document.getElementById(id);

// h makes an element: h("p", {class: "x", title: "y"}, "text", child, null).
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

// keyed makes parent's children one element a key, in order. It keeps the elements that
// are there, so that focus and the screen reader's place survive an update.
export function keyed(parent, keys, make, update) {
  const have = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  let place = parent.firstElementChild;
  for (const key of keys) {
    let element = have.get(key);
    have.delete(key);
    if (!element) {
      element = make(key);
      element.dataset.key = key;
    }
    update(element, key);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of have.values()) element.remove();
}

// typing says whether the keyboard is in use for text, so that shortcuts keep off.
export function typing() {
  const e = document.activeElement;
  return !!e && (e.isContentEditable || /^(TEXTAREA|SELECT)$/.test(e.tagName) ||
    (e.tagName === "INPUT" && e.type !== "radio"));
}
