'use strict';

// Ends a run of Jest that something keeps alive after its last test, such as a server that a failed
// test has left open. Then the run has failed in any case.

const GRACE_MS = 60_000;

class EndReporter {
  onRunComplete () {
    // The results are written after this.
    setTimeout(() => {
      console.error('Something is still open after the last test:',
        process.getActiveResourcesInfo().join(' '));
      process.exit(1);
    }, GRACE_MS).unref();
  }
}

module.exports = EndReporter;
