/** A region of memory through which the processes of this user on this host share breakers. */
export interface RegionEntry {
  namespace: string;
  file: string;
  /** That are really in use; the file looks larger. */
  bytes: number;
  modified: Date;
}

/** For operators: the host's regions, those that this release can use. */
export const regions: {
  readonly list: () => RegionEntry[];
  /**
   * Removes a region. Whoever takes part in it goes on with the others who do; whoever comes later
   * makes a new one. Returns whether there was one.
   */
  readonly remove: (namespace: string) => boolean;
};
