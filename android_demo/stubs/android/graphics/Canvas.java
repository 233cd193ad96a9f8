// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.graphics;

public class Canvas {
    public native void drawLine(float startX, float startY, float stopX, float stopY, Paint paint);

    public native void drawRect(float left, float top, float right, float bottom, Paint paint);

    public native void drawText(String text, float x, float y, Paint paint);
}
