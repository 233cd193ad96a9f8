// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package org.pytorch.executorch;

public class EValue {
    public static native EValue from(Tensor tensor);

    public native Tensor toTensor();
}
