/** A wait that can be cut short: by a button, by the network coming back, by the customer returning to the page. */
export class Pause {
  #end = () => {};

  /** Resolves after `seconds`, or at wake(). Infinity waits for wake() alone. */
  for(seconds) {
    this.wake();
    return new Promise((resolve) => {
      const timer = Number.isFinite(seconds) ? setTimeout(() => this.wake(), seconds * 1000) : null;
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  wake() {
    const end = this.#end;
    this.#end = () => {};
    end();
  }
}
