// The data of the page, as the docstring of dashboard/payload.py describes them: `overview` is parsed at once, a chunk
// when somebody asks for one of its latents.

const OVERVIEW = readBlock("overview");
const LATENTS = OVERVIEW.latents;
const ROWS = LATENTS.latent.map((_, row) => row);
const ROW_OF = new Map(LATENTS.latent.map((latent, row) => [latent, row]));
const KINDS = OVERVIEW.kinds;
const NAMED = {
  explained: "explained", no_pattern: "no pattern found", refused: "the model refused", invalid: "answer not readable",
  failed: "no answer", hypothesis: "from a hypothesis",
};

const CHUNKS = new Map(); // number -> promise of the chunk
const CHUNKS_KEPT = 24; // that lie beside the page; those embedded in it stay
const ARRIVING = new Map(); // number -> what to do with a chunk that its script hands over

function labelName(number) {
  return number === null || number < 0 ? null : OVERVIEW.labels[number];
}

function latentName(latent) {
  const row = ROW_OF.get(latent);
  return row === undefined ? null : LATENTS.name[row] || null;
}

function known(column) { // whether any latent has a value there
  return LATENTS[column].some((one) => one !== null);
}

// What a latent without a name is known by, as text: the class that it tells best, or its top token.
function knownFor(row) {
  const best = labelName(LATENTS.label[row]);
  if (best !== null) return `best class ${best}`;
  const token = LATENTS.token[row];
  return token === null ? "no name" : `top token “${token}”`;
}

function nameOr(latent) {
  const name = latentName(latent);
  if (name !== null) return words(name);
  const row = ROW_OF.get(latent);
  return el("span", {class: "muted"}, row === undefined ? "no name" : words(knownFor(row)));
}

function latentLink(latent) {
  return el("a", {href: `#latent-${latent}`, class: "latent-link"}, el("span", {class: "number"}, latent), " ",
    nameOr(latent));
}

function fastSaeChunk(number, chunk) { // called by the scripts chunks/N.js
  const arrived = ARRIVING.get(number);
  if (arrived) arrived(chunk);
}

function loadChunk(number) {
  if (!CHUNKS.has(number)) {
    const coming = OVERVIEW.chunks.embedded ? embeddedChunk(number) : chunkBeside(number);
    coming.catch(() => CHUNKS.delete(number)); // so that another try is possible
    CHUNKS.set(number, coming);
    if (!OVERVIEW.chunks.embedded && CHUNKS.size > CHUNKS_KEPT) CHUNKS.delete(CHUNKS.keys().next().value);
  }
  return CHUNKS.get(number);
}

async function embeddedChunk(number) {
  await new Promise((resolve) => setTimeout(resolve)); // what is on the screen so far is painted first
  return unpackBlock(`chunk-${number}`);
}

function chunkBeside(number) {
  return new Promise((resolve, reject) => {
    const script = el("script", {src: `chunks/${number}.js`, onerror: () => finish(
      () => reject(new Error(`chunks/${number}.js could not be loaded; it belongs beside this page.`)))});
    const finish = (settle) => {
      ARRIVING.delete(number);
      script.remove();
      settle();
    };
    ARRIVING.set(number, (chunk) => finish(() => resolve(unpack(chunk))));
    document.head.append(script);
  });
}

function chunkOf(latent) {
  return loadChunk(Math.floor(latent / OVERVIEW.chunks.size));
}

function windowOf(chunk, number) {
  const one = textAt(chunk, number);
  return {...one, label: labelName(one.label)};
}
