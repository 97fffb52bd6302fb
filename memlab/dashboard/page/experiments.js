// Tab Experiments: all of them, and the arms and claims of one.

const SIGNS = { holds: ["✓", "holds"], "does not hold": ["✗", "refuted"], undecided: ["?", "undecided"], "not measured": ["–", "note"] };

function verdictElement(verdict) {
  const [sign, look] = SIGNS[verdict] ?? ["", ""];
  return element("span", { class: look }, `${sign} ${verdict}`);
}

function drawExperiments(panel) {
  if (!hasReports(panel)) return;
  panel.append(heading(2, "All experiments"), allExperiments());
  const report = chosenReport();
  panel.append(controls(reportChoice()), heading(2, report.title || report.id));
  if (report.headline) panel.append(element("p", {}, `In short: ${report.headline}.`));
  panel.append(element("p", {}, element("code", {}, report.command)));
  if (report.unfinished.length) panel.append(note(`Not finished: ${report.unfinished.join("; ")}`));
  panel.append(armsTable(report), note("Mean ± standard error over seeds; press a number to see where it comes from."));
  panel.append(claimsTable(report));
  panel.append(
    note(
      "A claim holds if the difference is at least what is needed and its 95 % interval lies above 0. Margin: the" +
        " difference minus what is needed, in standard errors over seeds; none with one seed.",
    ),
  );
  const [head, ...lines] = report.tables.along;
  if (lines.length) panel.append(sortableTable("Claims along training", head, lines));
}

function allExperiments() {
  const kinds = Object.keys(SIGNS);
  const head = ["experiment", "results", "question", ...kinds, "points", "training"];
  const lines = contents.reports.map((report) => {
    const open = () => {
      view.report = report.id;
      render();
      document.getElementById("choice-report").focus();
    };
    return [
      element("button", { type: "button", onclick: open }, report.experiment),
      report.name,
      report.title,
      ...kinds.map((kind) => String(report.verdicts[kind])),
      String(report.rows.length),
      `${(report.seconds / 60).toFixed(1)} min`,
    ];
  });
  return sortableTable("Experiments: how many claims have which verdict", head, lines, [2]);
}

function armsTable(report) {
  const [head, ...lines] = report.tables.arms;
  const made = lines.map((cells, place) => {
    const [architecture, arm] = report.lines[place];
    return cells.map((cell, column) => {
      const isNumber = column > 1 && column < cells.length - 3 && cell !== "-" && !head[column].startsWith("published");
      if (!isNumber) return cell;
      const open = () => openProvenance(report, architecture, arm);
      return element("button", { type: "button", title: "Where this number comes from", onclick: open }, cell);
    });
  });
  return sortableTable(`Arms of ${report.id}`, head, made);
}

function claimsTable(report) {
  const [head, ...lines] = report.tables.claims;
  const place = head.indexOf("verdict");
  const made = lines.map((cells, line) => {
    const { text, source } = report.claims[line];
    return [...cells.map((cell, i) => (i === place ? verdictElement(cell) : cell)), text ?? "", source ?? ""];
  });
  const wide = [head.length, head.length + 1, head.length - 1];
  return sortableTable(`Claims of ${report.id}`, [...head, "statement", "source"], made, wide);
}
