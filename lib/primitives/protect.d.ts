import { PolicyOptions } from './policy';

/** Names of methods, also of objects inside the client, as in `transaction.status`. */
export type MethodPath<T> = {
  [K in keyof T & string]: T[K] extends (...args: any[]) => any ? K
    : T[K] extends object
      ? `${K}.${{ [L in keyof T[K] & string]: T[K][L] extends (...args: any[]) => any ? L : never
      }[keyof T[K] & string]}`
      : never
}[keyof T & string];

export interface ProtectOptions<T extends object> extends Omit<PolicyOptions, 'hedge'> {
  /** Names of the methods, with dots for those of members. */
  methods: ReadonlyArray<MethodPath<T> | (string & {})>;
  /** Whether the methods also take a callback (error, value) at the end. Default false. */
  callbacks?: boolean | undefined;
  /** The cache key. Default: the method and the arguments as JSON. */
  key?: ((...args: any[]) => unknown) | undefined;
  /** Finds the signal of a call in its arguments. Default: there is none. */
  signal?: ((...args: any[]) => AbortSignal | null | undefined) | undefined;
}

/**
 * Returns the client with these methods protected by one policy. Everything else stays as it is,
 * and works on the client itself.
 * @throws ERR_INVALID_OPTION
 */
export function protect<T extends object> (client: T, options: ProtectOptions<T>): T;
