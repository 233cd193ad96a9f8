// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.graphics;

import java.io.InputStream;

public class BitmapFactory {
    public static class Options {
        public boolean inJustDecodeBounds;
        public boolean inPremultiplied;
        public int inSampleSize;
        public int outHeight;
        public int outWidth;
    }

    public static native Bitmap decodeStream(InputStream is, Rect outPadding, Options opts);
}
