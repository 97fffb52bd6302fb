// Tab Published: the paper's numbers beside ours.

function drawPublished(panel) {
  if (!hasReports(panel)) return;
  const compared = contents.reports.flatMap((report) =>
    report.published.map((entry) => {
      const rows = report.rows.filter((row) => row.arm === entry.arm && row.architecture === entry.architecture);
      const ours = spread(rows, entry.metric);
      const label = report.arms[entry.arm]?.label ?? entry.arm;
      const difference = ours ? numberText(ours.mean - entry.value, entry.metric, true) : "-";
      const numbers = [numberText(entry.value, entry.metric), spreadText(ours, entry.metric), difference];
      return [report.id, entry.architecture, label, nameOf(entry.metric), ...numbers, entry.source];
    }),
  );
  panel.append(
    note(
      "Published numbers come from the paper's full size: other text, vocabulary, lengths and widths. Compare their order" +
        " with ours, not their values.",
    ),
  );
  const head = ["experiment", "architecture", "arm", "metric", "published", "ours", "ours − published", "source"];
  panel.append(
    compared.length ? sortableTable("The same arms", head, compared, [7]) : note("No value of these arms is published."),
  );
  const near = contents.reports.flatMap((report) =>
    report.context.map((entry) => [report.experiment, entry.text, entry.metric, entry.value || "-", entry.source]),
  );
  const once = [...new Map(near.map((line) => [JSON.stringify(line), line])).values()];
  if (once.length)
    panel.append(
      sortableTable("Other quantities near the question", ["experiment", "what", "metric", "published", "source"], once, [1, 4]),
    );
}
