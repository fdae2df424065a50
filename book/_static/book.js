// The theme's markup, mended for screen readers.
document.addEventListener("DOMContentLoaded", () => {
  // These labels hide the text that is shown; without them the text is the name.
  document
    .querySelectorAll("button.search-button-field, summary[aria-label]")
    .forEach((element) => element.removeAttribute("aria-label"));
  // The book's title lies outside every landmark.
  const title = document.querySelector(".sidebar-primary-item:has(.navbar-brand)");
  title?.setAttribute("role", "region");
  title?.setAttribute("aria-label", "book title");
  // The bibliography is a list whose entries say that they are none of its items.
  document
    .querySelectorAll(".citation-list > .citation")
    .forEach((entry) => entry.setAttribute("role", "listitem"));
});
