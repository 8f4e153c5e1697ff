// Lets the lines that state a claim wrap, in printed output whose tables must not.
document.addEventListener("DOMContentLoaded", () => {
  const claim = /^\[[a-z]+-\d+\] /m;
  for (const pre of document.querySelectorAll(".cell_output pre")) {
    const text = pre.textContent.trimEnd();
    if (!claim.test(text)) continue;
    pre.replaceChildren();
    for (const line of text.split("\n")) {
      const row = document.createElement("span");
      row.className = claim.test(line) ? "claim" : "";
      row.textContent = line;
      pre.append(row, "\n");
    }
  }
});
