// The table of samples: filters, pages, rows that open. What a model wrote becomes text nodes only.
"use strict";

const ROWS_PER_PAGE = 25;
const EXCERPT_CHARS = 220;
const ENDINGS = {
  written: { mark: "✓", name: "Written" },
  rejected: { mark: "✕", name: "Rejected" },
  failed: { mark: "!", name: "Failed" },
};

const { rows } = JSON.parse(document.getElementById("samples-data").textContent);
const form = document.getElementById("filters");
const list = document.getElementById("rows");
const pagers = [...document.querySelectorAll(".pager")];
let found = rows;
let page = 0;

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// Text as it is now: of a pair, what noise has made of it.
const textOf = (turn) => turn.text.map((part) => (Array.isArray(part) ? part[1] : part)).join("");

function searchText(row) {
  row.lowered ??= [row.id, row.source, row.detail, ...row.why, ...row.turns.map(textOf)]
    .join("\n")
    .toLowerCase();
  return row.lowered;
}

function excerpt(turn) {
  const text = turn ? textOf(turn).trim() : "";
  return text.length > EXCERPT_CHARS ? `${text.slice(0, EXCERPT_CHARS)}…` : text || "(empty)";
}

function matches(row, wanted) {
  const attribute = wanted.attribute && JSON.parse(wanted.attribute);
  return (
    (!wanted.run || row.run === wanted.run) &&
    (!wanted.end || row.end === wanted.end) &&
    (!wanted.why || row.why.join(" · ") === wanted.why) &&
    (!wanted.model || row.model === wanted.model) &&
    (!wanted.finish || row.finish === wanted.finish) &&
    (!attribute || row.attributes[attribute[0]] === attribute[1]) &&
    (!wanted.noisy || row.noise.length > 0) &&
    (!wanted.search || searchText(row).includes(wanted.search.trim().toLowerCase()))
  );
}

function turnElement(turn) {
  const text = element("div", "text");
  for (const part of turn.text) {
    if (!Array.isArray(part)) {
      text.append(part);
      continue;
    }
    const [before, after] = part;
    if (before) text.append(element("del", "", before));
    if (after) text.append(element("ins", "", after));
  }
  const made = element("div", "turn", element("p", "role", turn.role), text);
  if (turn.cut) {
    made.append(element("p", "note", `Cut here: ${turn.chars.toLocaleString("en")} characters in all.`));
  }
  return made;
}

function factsElement(row) {
  const facts = element("dl", "facts");
  const add = (name, value) => {
    if (value !== "") facts.append(element("dt", "", name), element("dd", "", value));
  };
  add("Sample", row.id);
  if (row.why.length) add(row.end === "failed" ? "Error" : "Rejected by", row.why.join(" · "));
  add(row.end === "failed" ? "Message" : "Evidence", row.detail);
  for (const verdict of row.verdicts) {
    const told = [verdict.passed ? "passed" : "rejected", verdict.reason, verdict.evidence];
    add(verdict.rule, told.filter((each) => each && each !== "{}").join(" · "));
  }
  add("Noise", row.noise.join(", "));
  for (const [name, value] of Object.entries(row.attributes)) add(name, value);
  add("Model", `${row.model} at ${row.endpoint}`);
  add("Sampling", row.params === "{}" ? "" : row.params);
  add("Finish reason", row.finish);
  add("Source", row.source);
  return facts;
}

function bodyElement(row) {
  const body = element("div", "body", ...row.turns.map(turnElement));
  if (row.turns_left_out) {
    body.append(element("p", "note", `${row.turns_left_out} further turns are left out.`));
  }
  if (row.noise.length) {
    body.append(element("p", "note", "Struck out: before noise. Underlined: what noise has put there."));
  }
  body.append(factsElement(row));
  return body;
}

function rowElement(row) {
  const { mark, name } = ENDINGS[row.end];
  const isAnswered = row.end !== "failed" && row.turns.length > 1;
  const asked = isAnswered ? row.turns.at(-2) : row.turns.at(-1);
  const badge = element("span", `badge ${row.end}`, element("span", "mark", mark), name);
  const first = element("span", "ending", row.run ? `${row.run} ` : "", badge);
  if (row.why.length) first.append(element("span", "why", row.why.slice(-2).join(": ")));
  if (row.noise.length) first.append(element("span", "why", `noise: ${row.noise.join(", ")}`));
  const texts = element("span", "texts", element("span", "asked", excerpt(asked)));
  if (isAnswered) texts.append(element("span", "answer", excerpt(row.turns.at(-1))));
  const size = isAnswered ? `${row.words} ${row.words === 1 ? "word" : "words"}` : "";
  const about = element("span", "about", element("span", "model", row.model), size);
  const made = element("details", "", element("summary", "", first, texts, about));
  made.addEventListener("toggle", () => made.append(bodyElement(row)), { once: true });
  return element("li", "", made);
}

function show() {
  const last = Math.max(0, Math.ceil(found.length / ROWS_PER_PAGE) - 1);
  page = Math.min(Math.max(page, 0), last);
  const start = page * ROWS_PER_PAGE;
  const shown = found.slice(start, start + ROWS_PER_PAGE);
  list.replaceChildren(...shown.map(rowElement));
  const of = found.length === rows.length ? "" : ` that match, of ${rows.length.toLocaleString("en")}`;
  document.getElementById("found").textContent = found.length
    ? `${start + 1}–${start + shown.length} of ${found.length.toLocaleString("en")} samples${of}`
    : "No sample matches: fewer filters find more.";
  for (const pager of pagers) {
    pager.hidden = last === 0;
    pager.querySelector(".back").disabled = page === 0;
    pager.querySelector(".on").disabled = page === last;
    pager.querySelector(".where").textContent = `Page ${page + 1} of ${last + 1}`;
  }
}

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  found = rows.filter((row) => matches(row, wanted));
  page = 0;
  show();
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter)); // the fields are emptied after this event
for (const pager of pagers) {
  for (const [name, step] of [[".back", -1], [".on", 1]]) {
    pager.querySelector(name).addEventListener("click", () => {
      page += step;
      show();
      document.getElementById("samples").scrollIntoView();
    });
  }
}
form.hidden = false;
show();
