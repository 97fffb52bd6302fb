// Tab Workspace: what `python -m memlab.dashboard wandb` makes in a project of Weights & Biases. Nothing is asked of it.

function drawWorkspace(panel) {
  const { views, reports } = contents.workspace;
  const place = element("div");
  const draw = () => place.replaceChildren(...viewOutline(views.find(({ name }) => name === view.saved)));
  panel.append(
    note(
      "The saved views and reports that `python -m memlab.dashboard wandb` makes in a project of Weights & Biases, once" +
        " the runs are sent. The charts themselves are drawn there.",
    ),
    controls(selection("saved", "Saved view", views.map(({ name }) => [name, name]), draw)),
    place,
    heading(2, "All saved views"),
    sortableTable(
      "Which view has which charts",
      ["view", "runs", "grouped by", "against", "sections, with their charts"],
      views.map((one) => [one.name, one.runs, one.groups.join(", ") || "-", axesOf(one), one.sections.map(sectionText).join("; ")]),
      [1, 4],
    ),
    heading(2, "Reports"),
    reports.length
      ? sortableTable(
          "Which report has which sections",
          ["report", "sections", "charts below them", "of runs"],
          reports.map((one) => [one.name, one.sections.join("; "), one.panels.map(panelText).join(", "), one.runs]),
          [1, 2],
        )
      : note("No experiment has a report here yet."),
  );
  draw();
}

function viewOutline({ runs, groups, sections }) {
  return [
    note(`Runs whose ${runs}${groups.length ? `, grouped by ${groups.join(" and ")}` : ""}.`),
    ...sections.flatMap((section) => [
      heading(3, section.name + (section.open ? "" : " (folded)")),
      element("ul", { class: "panels" }, section.panels.map(panelCard)),
    ]),
  ];
}

function panelCard({ title, what, axis }) {
  const against = axis && element("small", { class: "axis" }, `against ${axis}`);
  return element("li", {}, element("strong", {}, title), element("code", {}, what), against || null);
}

const axesOf = ({ sections }) =>
  [...new Set(sections.flatMap(({ panels }) => panels.map(({ axis }) => axis)).filter(Boolean))].join(", ");
const panelText = ({ title, axis }) => (axis ? `${title} against ${axis}` : title);
const sectionText = ({ name, panels }) => `${name}: ${panels.map(({ title }) => title).join(", ")}`;
