// Tab Provenance: which runs, code and machine are behind each number.

function openProvenance(report, architecture, arm) {
  Object.assign(view, { report: report.id, filter: `${arm} ${architecture}`, tab: "provenance" });
  render();
  document.getElementById("choice-filter").focus();
}

function drawProvenance(panel) {
  if (!hasReports(panel)) return;
  const report = chosenReport();
  view.filter ??= "";
  const place = element("div");
  const field = element("input", { type: "search", id: "choice-filter", value: view.filter });
  const draw = () => {
    const words = view.filter.toLowerCase().split(/\s+/);
    const rows = report.rows.filter((row) => {
      const text = [row.arm, row.architecture, `seed${row.seed}`, ...row.stages.map((stage) => stage.run)].map((part) => String(part).toLowerCase());
      return words.every((word) => text.some((part) => part === word || (word.length > 3 && part.startsWith(word)) || !word));
    });
    place.replaceChildren(note(`${rows.length} of ${report.rows.length} rows`), provenanceTable(report, rows));
  };
  field.addEventListener("input", () => {
    view.filter = field.value;
    draw();
  });
  panel.append(
    controls(reportChoice(), element("label", {}, "Rows with all these words", field)),
    note("A stage that several rows share is trained once. Stages are named oldest first, each with the commit of its code."),
    place,
  );
  draw();
}

function provenanceTable(report, rows) {
  const head = ["architecture", "arm", "seed", ...report.main.map(nameOf), "stages", "minutes", "hardware", "versions"];
  const lines = rows.map((row) => {
    const stages = row.stages.map((stage) => contents.stages[stage.run] ?? {});
    const unique = (key) => [...new Set(stages.map((stage) => stage[key]).filter(Boolean))].join(" | ") || "unknown";
    const chain = row.stages.map((stage, place) => {
      const { commit, dirty } = stages[place];
      return `${stage.run} @ ${commit ? commit.slice(0, 12) : "unknown commit"}${dirty ? " with uncommitted changes" : ""}`;
    });
    return [
      row.architecture,
      row.arm,
      String(row.seed),
      ...report.main.map((metric) => numberText(row.values[metric], metric)),
      chain.map((text) => element("div", {}, text)),
      (row.seconds / 60).toFixed(1),
      unique("hardware"),
      unique("versions"),
    ];
  });
  const first = 3 + report.main.length;
  return sortableTable(`Rows of ${report.id}`, head, lines, [first, first + 2, first + 3]);
}
