// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.view;

import android.content.Context;
import android.content.res.Resources;
import android.graphics.Canvas;
import android.util.AttributeSet;

public class View {
    public static final int VISIBLE = 0;
    public static final int GONE = 8;

    public interface OnClickListener {
        void onClick(View v);
    }

    public View(Context context, AttributeSet attrs) {}

    public final native Context getContext();

    public native Display getDisplay();

    protected native void onDraw(Canvas canvas);

    public final native int getWidth();

    public final native int getHeight();

    public native void invalidate();

    public native Resources getResources();

    public native int getVisibility();

    public native void setVisibility(int visibility);

    public native boolean isEnabled();

    public native void setEnabled(boolean enabled);

    public native boolean getKeepScreenOn();

    public native void setKeepScreenOn(boolean keepScreenOn);

    public native CharSequence getContentDescription();

    public native void setContentDescription(CharSequence contentDescription);

    public native void setOnClickListener(OnClickListener l);
}
