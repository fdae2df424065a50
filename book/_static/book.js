// Opened as a file, other pages cannot be fetched: results are listed without excerpts.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// The theme's markup, mended for screen readers.
document.addEventListener("DOMContentLoaded", () => {
  // These labels hide the text that is shown; without them the text is the name.
  document
    .querySelectorAll("button.search-button-field, summary[aria-label]")
    .forEach((element) => element.removeAttribute("aria-label"));
  // What opens a folded part of the contents shows an arrow alone.
  document.querySelectorAll("nav.bd-links li > details > summary").forEach((fold) => {
    const part = fold.closest("li").querySelector(":scope > a");
    fold.setAttribute("aria-label", `Pages under ${part?.textContent.trim()}`);
  });
  // The book's title lies outside every landmark.
  const title = document.querySelector(".sidebar-primary-item:has(.navbar-brand)");
  title?.setAttribute("role", "region");
  title?.setAttribute("aria-label", "book title");
  // The bibliography is a list whose entries say that they are none of its items.
  document
    .querySelectorAll(".citation-list > .citation")
    .forEach((entry) => entry.setAttribute("role", "listitem"));
  // Each figure's picture can be taken along; tables bring their own link, and a
  // figure's numbers are linked in the cell behind it.
  document.querySelectorAll(".bd-article figure").forEach((figure) => {
    const image = figure.querySelector("img");
    const caption = figure.querySelector("figcaption");
    if (!image || !caption) return;
    const link = document.createElement("a");
    link.href = image.getAttribute("src");
    link.download = "";
    link.className = "take-along";
    link.textContent = `figure as ${link.href.split(".").pop().toUpperCase()}`;
    caption.append(link);
    const next = figure.closest(".cell")?.nextElementSibling;
    const numbers = next?.querySelector(".take-along[download^='figure-']");
    if (!numbers) return;
    caption.append(numbers);
    if (!next.textContent.trim()) next.remove();
  });
});

// What is wider than the screen says so, and can be scrolled by keys.
const cue = () => {
  const wide = ".bd-article :is(figure, .cell_output, .text_html, .pst-scrollable-table-container, div.math)";
  document.querySelectorAll(wide).forEach((box) => {
    const scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX === "auto";
    box.classList.toggle("scrolls", scrolls);
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
};
addEventListener("load", cue);
addEventListener("resize", cue);
