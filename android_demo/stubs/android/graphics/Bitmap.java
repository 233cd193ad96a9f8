// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.graphics;

public final class Bitmap {
    public enum Config { ARGB_8888 }

    public native int getWidth();

    public native int getHeight();

    public native void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height);

    public static native Bitmap createBitmap(int[] colors, int width, int height, Config config);
}
