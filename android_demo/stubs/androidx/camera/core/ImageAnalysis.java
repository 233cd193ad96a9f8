// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.camera.core;

import java.util.concurrent.Executor;

public final class ImageAnalysis extends UseCase {
    public static final int STRATEGY_KEEP_ONLY_LATEST = 0;
    public static final int OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2;

    public interface Analyzer {
        void analyze(ImageProxy image);
    }

    public static final class Builder {
        public native Builder setBackpressureStrategy(int strategy);

        public native Builder setOutputImageFormat(int outputImageFormat);

        public native Builder setOutputImageRotationEnabled(boolean outputImageRotationEnabled);

        public native ImageAnalysis build();
    }

    public native int getTargetRotation();

    public native void setTargetRotation(int rotation);

    public native void setAnalyzer(Executor executor, Analyzer analyzer);
}
