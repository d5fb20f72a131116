// Where tests run: as jest's own environment for Node, but its globals are those of an ordinary context. The other hands every
// look-up of a global to a proxy, which makes whatever computes take twice as long.
import vm from "node:vm";
import { TestEnvironment } from "jest-environment-node";

export default class extends TestEnvironment {
  constructor(config, context) {
    const { createContext } = vm;
    vm.createContext = () => createContext(vm.constants.DONT_CONTEXTIFY);
    try {
      super(config, context);
    } finally {
      vm.createContext = createContext;
    }
  }
}
