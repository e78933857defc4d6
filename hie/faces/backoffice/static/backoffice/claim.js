// Says, two minutes before a claim ends, that it does. The page works without: the time stands in it, and what is typed
// is kept when it has run out.
"use strict";

document.querySelectorAll("[data-until]").forEach((place) => {
  const warning = place.querySelector(".only-late");
  const left = Date.parse(place.dataset.until) - Date.now() - 120000;
  const warn = () => { warning.hidden = false; };
  if (left <= 0) warn(); else setTimeout(warn, left);
});
