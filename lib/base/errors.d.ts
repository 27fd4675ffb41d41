/** The errors of sekering. Decide by `code`, which does not change between releases. */
export class SekeringError extends Error {
  constructor (code: string, message?: string, options?: { cause?: unknown });
  /** Stable; for programs. All codes are in docs/errors.md. */
  readonly code: string;
}
