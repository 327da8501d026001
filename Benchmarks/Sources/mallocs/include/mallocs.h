// Preloaded, never called.
