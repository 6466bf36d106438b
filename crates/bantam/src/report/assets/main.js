// The page: its sections, in order, each only when its data are there; and its theme.

const SECTIONS = [
  { id: "candidates", title: "What was tried", build: pareto },
  { id: "alternatives", title: "Together or alone", build: alternatives },
  { id: "layers", title: "Layers", build: layers },
  { id: "histograms", title: "Distributions", build: histograms },
  { id: "size", title: "Size", build: sizes },
  { id: "latency", title: "Latency", build: latencies },
  { id: "robustness", title: "Robustness", build: robustness },
  { id: "time", title: "Time", build: times },
  { id: "repeat", title: "Repeat it", build: repeat },
];

function main() {
  const report = record(JSON.parse(document.getElementById("report").textContent));
  const built = SECTIONS.map(({ id, title, build }) => section(id, title, build, report)).filter(Boolean);
  document.getElementById("main").replaceChildren(headline(report), ...built);
  contents(built);
  theme();
  // Print is on white, whatever the screen shows.
  addEventListener("beforeprint", () => (document.documentElement.classList.add("printed"), drawPlots()));
  addEventListener("afterprint", () => (document.documentElement.classList.remove("printed"), drawPlots()));
  drawPlots();
}

// A section, or a note in its place where the data have a form that it cannot show.
function section(id, title, build, report) {
  let content;
  try {
    content = build(report);
  } catch (error) {
    console.error(`section ${id}:`, error);
    content = note("The data of this section cannot be shown: ", String(error));
  }
  return content
    ? el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), content)
    : null;
}

function contents(sections) {
  const links = sections.map(({ id, firstChild }) =>
    el("li", {}, el("a", { href: `#${id}` }, firstChild.textContent)),
  );
  const first = el("li", {}, el("a", { href: "#summary" }, "Summary"));
  document
    .getElementById("contents")
    .replaceChildren(el("ul", {}, first, links), el("button", { type: "button", id: "theme" }));
}

// Follows the system until the reader switches.
function theme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => (button.textContent = isDark() ? "☀ Light" : "☾ Dark");
  const redraw = () => (label(), drawPlots());
  // Some browsers have no storage for pages from a disk; the choice then holds for this visit.
  const stored = (use) => {
    try {
      return use(localStorage);
    } catch {
      return null;
    }
  };
  const kept = stored((storage) => storage.getItem("bantam-theme"));
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored((storage) => storage.setItem("bantam-theme", root.dataset.theme));
    redraw();
  });
  system.addEventListener("change", redraw);
  label();
}

main();
