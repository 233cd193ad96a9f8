// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.graphics;

public class Paint {
    public static final int ANTI_ALIAS_FLAG = 1;

    public Paint() {}

    public Paint(int flags) {}

    public native int getColor();

    public native void setColor(int color);

    public native float getStrokeWidth();

    public native void setStrokeWidth(float width);

    public native float getTextSize();

    public native void setTextSize(float textSize);
}
