// What someone else needs to get the same bytes.

function repeat(report) {
  const command = text(report.command);
  const recipe = text(report.recipe);
  const pairs = [
    ["Model", report.model],
    ["Output", report.output],
    ["Data", report.data],
    ["Target", report.target],
    ["Seed", report.seed],
    ["Data hash", report.data_hash],
    ["Bantam", report.bantam],
  ]
    .map(([name, value]) => [name, text(value)])
    .filter(([, value]) => value);
  if (!command && !recipe && !pairs.length) return null;
  return [
    command ? [el("h3", {}, "Command"), code(command, "command")] : null,
    recipe ? [el("h3", {}, "Recipe"), code(recipe, "recipe")] : null,
    el("h3", {}, "Circumstances"),
    facts(pairs),
    download(report),
  ];
}

function download(report) {
  const button = el("button", { type: "button", class: "screen" }, "Save report.json");
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(
      new Blob([JSON.stringify(report, null, 2)], { type: "application/json" }),
    );
    el("a", { href: address, download: "report.json" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
  return button;
}
