// Addresses within the page: #overview, #latent-17, #search-WORDS. They can be shared, and Back works.

function parseRoute(hash) {
  const latent = /^#latent-(\d{1,9})$/.exec(hash);
  if (latent) return {view: "latent", latent: Number(latent[1])};
  if (hash.startsWith("#search-")) return {view: "search", words: decoded(hash.slice("#search-".length))};
  return {view: "overview", unknown: ["", "#", "#overview"].includes(hash) ? null : hash};
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone % typed by hand
  }
}

function searchHash(text) {
  return `#search-${encodeURIComponent(text)}`;
}

// While one types, the address changes in place: only the first letter makes a new entry for Back.
function goToSearch(text, render) {
  const already = location.hash.startsWith("#search-");
  if (!text) {
    if (already) location.hash = "#overview";
    return;
  }
  if (already) {
    history.replaceState(null, "", searchHash(text));
    render();
  } else {
    location.hash = searchHash(text);
  }
}
