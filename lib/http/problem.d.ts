import { IncomingMessage, ServerResponse } from 'node:http';

/** Members of a problem (RFC 9457); others are sent unchanged. */
export interface ProblemMembers {
  /** A URI of the kind of problem, default 'about:blank'. */
  type?: string | undefined;
  /** Default: the name of the status. */
  title?: string | undefined;
  /** Stable, machine-readable. */
  code?: string | undefined;
  /** For the reader; never internal details. */
  detail?: string | undefined;
  /** Seconds; also sent as the header Retry-After. */
  retryAfter?: number | undefined;
  [name: string]: unknown;
}

/**
 * Answers with `application/problem+json` and `Cache-Control: no-store`.
 * @param status 400 to 599
 */
export function problem (res: ServerResponse, status: number, members?: ProblemMembers): void;

/**
 * The public part of an error: a status, and code and detail if the code is one of
 * sekering's that clients can act on; `circuit_breaker: true` if a breaker is open. A request that
 * Express or its body parsers refuse has ERR_REQUEST, ERR_REQUEST_JSON, ERR_REQUEST_TOO_LARGE or
 * ERR_REQUEST_CONTENT_TYPE. Everything else is a 500 with ERR_INTERNAL.
 */
export function problemOf (error: unknown): { status: number; members: ProblemMembers };

/** Express handler that answers 404, ERR_NOT_FOUND. */
export function notFound (req: IncomingMessage, res: ServerResponse): void;

export interface ProblemHandlerOptions {
  /** Gets the error of each answer 500; default: a process warning. */
  onError?: ((error: unknown, req: IncomingMessage) => void) | undefined;
}

/** Express error handler; put it last in an application. */
export function problemHandler (options?: ProblemHandlerOptions): (
  error: unknown, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void
) => void;
