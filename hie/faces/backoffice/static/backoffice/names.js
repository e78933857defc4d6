// unfold's icons are words set in an icon font, and would be read aloud as "task_alt Tasks". Here they are taken from
// the name of a control that has words of its own, and replaced by a name where it has none.
"use strict";

const NAMES = {
  search: "Search", left_panel_open: "Side bar", left_panel_close: "Side bar", dock_to_right: "Side bar",
  arrow_back: "Back", filter_list: "Filters", menu: "Menu", close: "Close", unfold_more: "Account",
  light_mode: "Theme", dark_mode: "Theme", computer: "Theme",
};

function name(icon) {
  icon.setAttribute("aria-hidden", "true");
  const control = icon.closest("a, button, [role=button], label");
  if (!control || control.hasAttribute("aria-label")) return;
  const words = [...control.querySelectorAll("*")].concat(control)
    .flatMap((part) => [...part.childNodes])
    .some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()
      && !node.parentElement.classList.contains("material-symbols-outlined"));
  if (!words) {
    const label = control.title || NAMES[icon.textContent.trim()] || icon.textContent.trim().replaceAll("_", " ");
    control.setAttribute("aria-label", label);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".material-symbols-outlined").forEach(name);
  document.querySelectorAll("input[name=q]:not([aria-label])").forEach((field) => field.setAttribute("aria-label", "Search"));
});
