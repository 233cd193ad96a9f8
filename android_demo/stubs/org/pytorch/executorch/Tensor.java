// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package org.pytorch.executorch;

public abstract class Tensor {
    public static native Tensor fromBlob(float[] data, long[] shape);

    public static native Tensor fromBlob(byte[] data, long[] shape);

    public native float[] getDataAsFloatArray();

    public native byte[] getDataAsByteArray();
}
