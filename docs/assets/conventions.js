// Tables with a column "convention" become tables that one can switch: one convention at a time, or all. Without this script,
// and on GitHub, they show all.
"use strict";

const ALL = "all", FIRST = "ours";

/** Shows the rows of a convention; its column too where there are several. */
function show(table, column, convention) {
  for (const row of table.rows) {
    const own = row.cells[column];
    row.hidden = row.parentNode.nodeName === "TBODY" && convention !== ALL && own.textContent !== convention;
    own.hidden = convention !== ALL;
  }
}

/** Puts a row of choices above a table. */
function switchable(table, column, number) {
  const found = [...new Set([...table.tBodies[0].rows].map((row) => row.cells[column].textContent))];
  const choices = document.createElement("fieldset");
  choices.className = "conventions";
  choices.append(Object.assign(document.createElement("legend"), { textContent: "convention" }));
  for (const convention of [...found, ALL]) {
    const one = document.createElement("input"), label = document.createElement("label");
    Object.assign(one, { type: "radio", name: `convention${number}`, value: convention });
    one.checked = convention === (found.includes(FIRST) ? FIRST : ALL);
    one.addEventListener("change", () => show(table, column, convention));
    label.append(one, ` ${convention}`);
    choices.append(label);
    if (one.checked) show(table, column, convention);
  }
  table.before(choices);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("article table").forEach((table, number) => {
    const column = [...(table.tHead?.rows[0].cells ?? [])].findIndex((cell) => cell.textContent === "convention");
    if (column >= 0) switchable(table, column, number);
  });
});
