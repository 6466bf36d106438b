// Elements are made here, and text is only ever set as text: nothing of a report is read as HTML.

let controls = 0;

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""),
  );
  return element;
}

const note = (...children) => el("p", { class: "note" }, ...children);

// Says something to those who hear the page.
const announce = (words) => document.getElementById("announcer").replaceChildren(words);

// One of a few choices, as radio buttons that look like one control. Choices: pairs of value and label.
function choice(label, choices, initial, changed) {
  const group = `choice-${(controls += 1)}`;
  const options = choices.map(([value, name]) => {
    const input = el("input", { type: "radio", name: group, value, checked: value === initial });
    input.addEventListener("change", () => changed(value));
    return el("label", {}, input, el("span", {}, name));
  });
  return el(
    "fieldset",
    { class: "choice" },
    el("legend", {}, label),
    el("span", { class: "options" }, options),
  );
}

function checkbox(label, initial, changed) {
  const input = el("input", { type: "checkbox", checked: initial });
  input.addEventListener("change", () => changed(input.checked));
  return el("label", { class: "checkbox" }, input, " ", label);
}

function dropdown(label, choices, initial, changed) {
  const select = el("select", { on: { change: () => changed(select.value) } });
  select.append(
    ...choices.map(([value, name]) => el("option", { value, selected: value === initial }, name)),
  );
  return el("label", { class: "dropdown" }, el("span", {}, label), select);
}

function copyButton(content, what) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${what}` }, "Copy");
  const done = (words) => {
    button.textContent = words;
    announce(`${what}: ${words}`);
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  button.addEventListener("click", () => {
    // Older browsers refuse the clipboard to pages from a disk; then the text is selected for the keyboard.
    Promise.resolve(navigator.clipboard?.writeText(content) ?? Promise.reject())
      .then(() => done("Copied"))
      .catch(() => {
        getSelection().selectAllChildren(button.parentElement.querySelector("code"));
        done(document.execCommand("copy") ? "Copied" : "Selected");
      });
  });
  return button;
}

const code = (content, what) =>
  el(
    "div",
    { class: "code" },
    el("pre", { tabindex: 0, role: "region", "aria-label": what }, el("code", {}, content)),
    copyButton(content, what),
  );

// A list of names and values; those without a value are left out.
function facts(pairs) {
  const shown = pairs.filter(
    ([, value]) => value !== null && value !== "" && value !== ABSENT && value !== undefined,
  );
  return el(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

// A bar of a share of its box.
const bar = (share, style = "after") =>
  el(
    "span",
    { class: "bar", "aria-hidden": "true" },
    el("span", { class: style, style: `width:${(100 * Math.min(Math.max(share || 0, 0), 1)).toFixed(2)}%` }),
  );

// Two bars on one scale, each with its amount; without bars where `largest` is null.
const barPair = (before, after, largest, write) =>
  el(
    "div",
    { class: "pair" },
    [
      ["before", before],
      ["after", after],
    ]
      .filter(([, value]) => finite(value))
      .map(([style, value]) =>
        el(
          "div",
          {},
          el("span", { class: "hidden" }, `${style} `),
          largest === null
            ? null
            : el("i", {
                class: style,
                "aria-hidden": "true",
                style: `width:calc((100% - 5.6rem) * ${(value / largest).toFixed(4)})`,
              }),
          el("span", { class: "amount" }, write(value)),
        ),
      ),
  );

const key = (...styles) =>
  el(
    "p",
    { class: "key" },
    styles.map((style) => el("span", {}, el("i", { class: style, "aria-hidden": "true" }), style)),
  );

// What scrolls sideways when the page is narrow, and can be scrolled by keys.
const scroller = (label, content, style = "") =>
  el("div", { class: `scroller ${style}`, tabindex: 0, role: "region", "aria-label": label }, content);

// A table whose columns sort it. Columns: { title, value(row) to sort by, cell(row), number, wide }; value may be absent.
function sortableTable(label, columns, rows, style = "") {
  const body = el("tbody");
  const heads = columns.map((column) => heading(column, () => sort(column)));
  let sorted = null;
  let descending = false;
  const show = (order) => body.replaceChildren(...order.map((row) => tableRow(columns, row)));
  const sort = (column) => {
    descending = sorted === column ? !descending : Boolean(column.number);
    sorted = column;
    heads.forEach((head, i) =>
      columns[i] === column
        ? head.setAttribute("aria-sort", descending ? "descending" : "ascending")
        : head.removeAttribute("aria-sort"),
    );
    show([...rows].sort((a, b) => compareValues(column.value(a), column.value(b), descending)));
  };
  show(rows);
  const table = el(
    "table",
    {},
    el("caption", { class: "hidden" }, label),
    el("thead", {}, el("tr", {}, heads)),
    body,
  );
  return scroller(label, table, style);
}

function heading(column, sort) {
  const style = column.number ? "number" : null;
  if (!column.value) return el("th", { scope: "col", class: style }, column.title);
  const button = el("button", { type: "button", on: { click: sort } }, column.title);
  return el("th", { scope: "col", class: style, title: column.hint }, button);
}

const tableRow = (columns, row) =>
  el(
    "tr",
    {},
    columns.map((column, i) => {
      const style = [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
      return el(i === 0 ? "th" : "td", { class: style, scope: i === 0 ? "row" : null }, column.cell(row));
    }),
  );

// Absent values stay at the end, whatever the direction.
function compareValues(a, b, descending) {
  const missing = (value) => value === null || value === undefined || value === "" || Number.isNaN(value);
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order =
    typeof a === "string" || typeof b === "string"
      ? String(a).localeCompare(String(b), "en", { numeric: true })
      : a - b;
  return descending ? -order : order;
}
