// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.camera.core;

import android.graphics.Bitmap;

public interface ImageProxy extends AutoCloseable {
    @Override
    void close();

    Bitmap toBitmap();
}
