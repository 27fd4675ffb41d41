import { IncomingMessage, ServerResponse } from 'node:http';
import { Idempotency, IdempotencyContext } from '../store/idempotency';

export interface IdempotentOptions {
  /** `store.idempotency` */
  idempotency: Idempotency;
  /** Default ['POST', 'PATCH']; requests with other methods pass. */
  methods?: string[] | undefined;
  /** Whether a request without a key is answered 400, default false: it passes. */
  required?: boolean | undefined;
  /**
   * Whose key it is: nobody gets the answer of another caller. Default: the header Authorization,
   * in which spaces and the case of the scheme do not matter. Set this if you identify callers by
   * anything else (a session, a certificate).
   */
  scope?: ((req: any) => unknown) | undefined;
  /** Whether answers of 500 and above are stored, default false: the request may be sent again. */
  storeServerErrors?: boolean | undefined;
  /**
   * The largest answer that is held and stored, in bytes, 0 to 2097152, default 1048576. A larger
   * one goes out as it comes; if the request is sent again, it is answered 409.
   */
  maxResponse?: number | undefined;
  /** How long an answer is kept in ms, default the store's (3600000). */
  ttl?: number | undefined;
  /** ms after which the key of a process that died is free, default the store's (60000). */
  lockTimeout?: number | undefined;
  /** ms to wait for the same key in flight, default the store's (0: 409 at once). */
  wait?: number | undefined;
}

/** A request that `idempotent` has let pass with a key. */
export interface IdempotentRequest {
  /**
   * Call `confirm` before each step that must not be done twice: after a stall, another process may
   * have the request. If it rejects, answer with the error (`next(error)`): the answer is not
   * stored.
   */
  idempotency?: Pick<IdempotencyContext, 'signal' | 'token' | 'confirm'> | undefined;
}

/**
 * Express middleware for the header Idempotency-Key, after the draft of the HTTP working group. It
 * has to come after the parser of bodies.
 *
 * The first request with a key is carried out; its answer is stored before it goes out, and sent
 * again byte for byte, with status and headers (`Idempotency-Replayed: true` is added; Set-Cookie
 * is not stored). Errors are problem+json: 400 ERR_IDEMPOTENCY_KEY_MISSING or _MALFORMED (the key
 * is a string in quotation marks, of 1 to 255 characters), 409 ERR_IDEMPOTENCY_IN_PROGRESS, 422
 * ERR_IDEMPOTENCY_MISMATCH (the key belongs to another method, URL or body), 409
 * ERR_IDEMPOTENCY_NOT_KEPT, 415 ERR_IDEMPOTENCY_BODY (no parser has read the body), 503 while the
 * database is away: then the request was not carried out.
 */
export function idempotent (options: IdempotentOptions):
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => Promise<void>;
