// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package org.tensorflow.lite;

public final class TensorFlowLite {
    public static native String runtimeVersion();
}
