// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.widget;

import android.content.Context;
import android.util.AttributeSet;
import android.view.View;

public class ProgressBar extends View {
    public ProgressBar(Context context, AttributeSet attrs) {
        super(context, attrs);
    }

    public native int getMax();

    public native void setMax(int max);

    public native int getProgress();

    public native void setProgress(int progress);

    public native boolean isIndeterminate();

    public native void setIndeterminate(boolean indeterminate);
}
