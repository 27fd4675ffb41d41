'use strict';

// Native objects are integer handles. A handle is destroyed when the object that owns it is
// collected; what still uses the handle must therefore hold that object.

const registry = new FinalizationRegistry(({ destroy, handle }) => destroy(handle));

/** Destroys `handle` once nothing holds `owner` any more. Returns the handle. */
function own (owner, handle, destroy) {
  registry.register(owner, { destroy, handle });
  return handle;
}

module.exports = { own };
