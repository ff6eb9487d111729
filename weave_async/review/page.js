// The keys and buttons of the review page. The server renders everything; this sends decisions.
"use strict";

const row = document.getElementById("row");
const problem = document.getElementById("problem");
const editing = document.getElementById("editing");
const rejecting = document.getElementById("rejecting");
const KEYS = { a: "accept", r: "reject", e: "edit", s: "skip", u: "undo" };
let isSending = false;

const actions = {
  accept: () => decide("accept"),
  skip: () => decide("skip"),
  undo: () => send("/undo", {}),
  reject: () => open(rejecting, document.getElementById("reason")),
  edit: () => open(editing, document.getElementById("edited")),
  cancel: close,
};

function open(form, first) {
  close();
  form.hidden = false;
  first.focus();
  if (first.setSelectionRange) first.setSelectionRange(first.value.length, first.value.length);
  form.scrollIntoView({ block: "nearest" });
}

function close() {
  for (const form of [editing, rejecting]) {
    if (!form || form.hidden) continue;
    if (form.contains(document.activeElement)) document.activeElement.blur(); // or keys go there
    form.hidden = true;
  }
}

function decide(decision, more = {}) {
  const { sampleId, textSha256 } = row.dataset;
  return send("/verdict", { sample_id: sampleId, text_sha256: textSha256, decision, ...more });
}

// A decision counts once the server has said that it is on the disk; only then the page goes on.
async function send(path, body) {
  if (isSending) return;
  isSending = true;
  problem.hidden = true;
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(await response.text());
    location.assign((await response.json()).next);
  } catch (error) {
    const isCutOff = error instanceof TypeError;
    problem.textContent = isCutOff
      ? "Nothing was saved: the server cannot be reached. Start `weave-async review` again."
      : `Nothing was saved: ${error.message}`;
    problem.hidden = false;
    isSending = false;
  }
}

function isTyping(target) {
  return target.matches("input, textarea, select");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  if (button.dataset.do) actions[button.dataset.do]();
  if (button.dataset.reason) decide("reject", { reason: button.dataset.reason });
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return close();
  if (event.key === "Enter" && event.ctrlKey && editing && !editing.hidden) {
    event.preventDefault();
    return editing.requestSubmit();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const isEmpty = rejecting && !document.getElementById("reason").value;
  if (rejecting && !rejecting.hidden && isEmpty && /^[1-9]$/.test(event.key)) {
    const reason = rejecting.querySelectorAll("[data-reason]")[Number(event.key) - 1];
    if (reason) {
      event.preventDefault();
      reason.click();
    }
    return;
  }
  // While a form is open, a letter belongs to it, wherever the focus is: it decides nothing.
  if (isTyping(event.target) || [editing, rejecting].some((form) => form && !form.hidden)) return;
  const wanted = KEYS[event.key.toLowerCase()];
  const button = wanted && document.querySelector(`.actions button[data-do=${wanted}]`);
  if (button && !button.disabled) {
    event.preventDefault();
    button.click();
  }
});

if (editing) {
  editing.addEventListener("submit", (event) => {
    event.preventDefault();
    decide("accept", { edited: document.getElementById("edited").value });
  });
}

if (rejecting) {
  rejecting.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = document.getElementById("reason");
    const reason = field.value.trim();
    field.setCustomValidity(reason ? "" : "Say why, or choose one of the above.");
    if (reason) decide("reject", { reason });
    else field.reportValidity();
  });
  document.getElementById("reason").addEventListener("input", (event) => {
    event.target.setCustomValidity("");
  });
}
